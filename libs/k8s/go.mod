module github.com/weft-cni/weft/libs/k8s

go 1.26.0
