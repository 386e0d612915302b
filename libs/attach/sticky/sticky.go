// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-cni/weft/libs/lease"
)

// Annotation keeps the addresses of a pod for the next pod of its name.
const Annotation = "weft.dev/sticky"

// What KubeVirt writes on launcher pods.
const (
	launcherLabel      = "kubevirt.io"
	launcherValue      = "virt-launcher"
	migrationJobName   = "kubevirt.io/migrationJobName"
	kubevirtGroup      = "kubevirt.io/"
	kindVM, kindVMI    = "VirtualMachine", "VirtualMachineInstance"
	kindSet, groupApps = "StatefulSet", "apps/"
)

// Kinds of holders, as leases record them.
const (
	HolderPod   = "Pod"
	HolderClaim = "IPClaim"
)

// Owner is one owner reference.
type Owner struct{ APIVersion, Kind, Name, UID string }

// String is "StatefulSet web".
func (o Owner) String() string { return o.Kind + " " + o.Name }

// NeedsOwner says whether Of must be told who controls the owner: only the
// instance of a virtual machine is itself a thing that comes and goes.
func (o Owner) NeedsOwner() bool {
	return o.Kind == kindVMI && isMachine(o)
}

// Pod is what of a pod matters.
type Pod struct {
	Namespace, Name, UID string
	GenerateName         string
	Labels, Annotations  map[string]string
	// Owners are the controller of the pod, its controller if NeedsOwner says
	// so, and so on; none for a pod without a controller.
	Owners []Owner
	// Complete: the last of Owners was looked up, and nobody controls it. It
	// matters only where NeedsOwner says that somebody might.
	Complete bool
}

// ErrOwnerUnknown says that Of was not told who controls the last owner. To
// guess would keep the addresses for the wrong one.
var ErrOwnerUnknown = errors.New("nobody has looked up who controls it")

// Identity is for whom the addresses of a pod are kept. It can be put together
// again from what was stored: everything is in the exported fields.
type Identity struct {
	// Keep: the addresses stay after the pod. Otherwise Owner is empty.
	Keep bool
	// Owner is the thing whose end frees the addresses.
	Owner     Owner
	Namespace string
	Member    string // of the owner: the name of the pod or of the virtual machine
	UID       string // of the owner, or of the pod when nothing is kept

	// Migrating: this pod is the target of a live migration, and the source
	// uses the address until the migration ends.
	Migrating bool
}

// Of says for whom the addresses of the pod are kept.
func Of(p Pod) (Identity, error) {
	pod := Identity{Namespace: p.Namespace, Member: p.Name, UID: p.UID}
	wish, asked := p.Annotations[Annotation]
	if asked && wish != "true" && wish != "false" {
		return Identity{}, fmt.Errorf(`annotation %s of the pod: %q is neither "true" nor "false"; write one of them, in quotes`, Annotation, wish)
	}
	if wish == "false" {
		return pod, nil
	}
	if id, ok, err := machine(p); ok || err != nil {
		return id, err
	}
	if len(p.Owners) > 0 {
		o := p.Owners[0]
		kept := Identity{Keep: true, Owner: o, Namespace: p.Namespace, Member: p.Name, UID: o.UID}
		if _, ok := ordinal(o, p.Name); ok && isSet(o) {
			return kept, nil
		}
		if wish != "true" {
			return pod, nil
		}
		if why := unstable(p, o); why != "" {
			return Identity{}, refusal(why)
		}
		return kept, nil
	}
	if wish == "true" {
		return Identity{}, refusal("the pod has no controller whose end would free the address")
	}
	return pod, nil
}

func refusal(why string) error {
	return fmt.Errorf(`annotation %s of the pod cannot be "true": %s; write weft.dev/claim to keep addresses for an application`, Annotation, why)
}

// machine recognizes the launcher pods of KubeVirt.
func machine(p Pod) (Identity, bool, error) {
	if p.Labels[launcherLabel] != launcherValue || len(p.Owners) == 0 || !p.Owners[0].NeedsOwner() {
		return Identity{}, false, nil
	}
	o := p.Owners[0]
	switch {
	case len(p.Owners) > 1 && isMachine(p.Owners[1]):
		o = p.Owners[1]
	case len(p.Owners) == 1 && !p.Complete:
		return Identity{}, false, fmt.Errorf("%s of pod %s: %w", o, p.Name, ErrOwnerUnknown)
	}
	_, byAnnotation := p.Annotations[migrationJobName]
	_, byLabel := p.Labels[migrationJobName]
	return Identity{
		Keep: true, Owner: o, Namespace: p.Namespace, Member: o.Name, UID: o.UID,
		Migrating: byAnnotation || byLabel,
	}, true, nil
}

func isSet(o Owner) bool { return o.Kind == kindSet && strings.HasPrefix(o.APIVersion, groupApps) }

func isMachine(o Owner) bool {
	return (o.Kind == kindVM || o.Kind == kindVMI) && strings.HasPrefix(o.APIVersion, kubevirtGroup)
}

// ordinal reads the number that a StatefulSet appended to its name.
func ordinal(o Owner, pod string) (int, bool) {
	digits, ok := strings.CutPrefix(pod, o.Name+"-")
	if !ok || digits == "" || len(digits) > 1 && digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// unstable says why no second pod will have the name, or "".
func unstable(p Pod, o Owner) string {
	switch o.Kind {
	case "ReplicaSet", "ReplicationController", "DaemonSet", "Job", kindVM, kindVMI:
		return fmt.Sprintf("each pod of a %s has a name of its own", o.Kind)
	}
	if generated(p.Name, p.GenerateName) {
		return fmt.Sprintf("%s ends in letters that were drawn by lot", p.Name)
	}
	return ""
}

// generated says whether the API server made the name: generateName, cut to 58
// characters, and five out of 27 letters and digits. A controller that numbers
// its pods may set generateName too, so five digits alone do not count.
func generated(name, from string) bool {
	if from == "" {
		return false
	}
	suffix, ok := strings.CutPrefix(name, from[:min(len(from), 58)])
	return ok && len(suffix) == 5 &&
		strings.Trim(suffix, "bcdfghjklmnpqrstvwxz2456789") == "" && strings.Trim(suffix, "2456789") != ""
}

// Holder returns what the lease of one interface records.
//
// For addresses that are kept it is the IPClaim of this member and interface,
// "pod.web-0.eth0" or "vm.db.eth0", with the uid of the owner: the claim itself
// may not be written yet, and a set that was deleted and made again under its
// name is somebody else. Different members and interfaces have different names.
func (i Identity) Holder(nic string) lease.Holder {
	if !i.Keep {
		return lease.Holder{Kind: HolderPod, Namespace: i.Namespace, Name: i.Member, UID: i.UID}
	}
	return lease.Holder{Kind: HolderClaim, Namespace: i.Namespace, Name: i.ClaimName(nic), UID: i.UID}
}

// ClaimName is the name of the IPClaim that keeps the addresses of the interface.
func (i Identity) ClaimName(nic string) string {
	what := "pod."
	if isMachine(i.Owner) {
		what = "vm."
	}
	return join(what, i.Member, "."+label(nic))
}

// ClaimHolder returns what a lease records that belongs to an application's claim.
// The uid is empty as long as nobody has read the claim.
func ClaimHolder(namespace, claim, uid string) lease.Holder {
	return lease.Holder{Kind: HolderClaim, Namespace: namespace, Name: claim, UID: uid}
}

// label makes one DNS label of an interface name, and never the same of two.
func label(nic string) string {
	plain := nic != "" && !strings.HasPrefix(nic, "x-") && nic[0] != '-' && nic[len(nic)-1] != '-' &&
		strings.Trim(nic, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	if plain {
		return nic
	}
	return "x-" + hex.EncodeToString([]byte(nic))
}

// join shortens what would be too long for the name of an object: the head of
// the member and a hash of all of it.
func join(before, member, after string) string {
	const most = 253
	if len(before)+len(member)+len(after) <= most {
		return before + member + after
	}
	sum := sha256.Sum256([]byte(member))
	tail := "-" + hex.EncodeToString(sum[:8])
	head := strings.TrimRight(member[:most-len(before)-len(after)-len(tail)], "-.")
	return before + head + tail + after
}
