module github.com/weft-cni/weft/plugins/ipam

go 1.26.0

require github.com/weft-cni/weft/libs v0.0.0

replace github.com/weft-cni/weft/libs => ../../libs
