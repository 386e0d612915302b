module github.com/weft-cni/weft/plugins/ipam

go 1.26.0

require (
	github.com/containernetworking/cni v1.3.1
	github.com/weft-cni/weft/libs v0.0.0
)

require (
	github.com/vishvananda/netns v0.0.5 // indirect
	go.etcd.io/bbolt v1.5.0 // indirect
	go4.org/netipx v0.0.0-20260823151212-3075585bcbeb // indirect
	golang.org/x/sys v0.49.0 // indirect
	sigs.k8s.io/json v0.0.0-20260909141634-11ed52e25bc5 // indirect
)

replace github.com/weft-cni/weft/libs => ../../libs
