module github.com/weft-cni/weft/tools

go 1.26.0
