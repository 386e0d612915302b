module github.com/weft-cni/weft/libs

go 1.26.0
