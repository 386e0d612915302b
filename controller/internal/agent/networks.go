// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"strings"

	"github.com/weft-cni/weft/libs/attach"
)

// networksAnnotation lists a pod's further interfaces, as Multus reads it.
const networksAnnotation = "k8s.v1.cni.cncf.io/networks"

// network is one entry of the annotation.
type network struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Interface string `json:"interface"`
}

// interfaces says which place the interface has among the pod's, and of which
// NetworkAttachmentDefinition it is, as "namespace/name", or "". The pod's first
// interface is eth0; the others follow the annotation, net1, net2 and so on
// unless they are named there. What cannot be read is somebody else's to refuse;
// then the place is not known.
func interfaces(namespace string, annotations map[string]string, ifName string) (attach.NIC, string) {
	nic := attach.NIC{Name: ifName, Position: -1}
	if ifName == "eth0" {
		nic.Position = 0
		return nic, ""
	}
	for i, n := range networks(annotations[networksAnnotation]) {
		name := n.Interface
		if name == "" {
			name = "net" + itoa(i+1)
		}
		if name != ifName {
			continue
		}
		nic.Position = i + 1
		if n.Namespace == "" {
			n.Namespace = namespace
		}
		return nic, n.Namespace + "/" + n.Name
	}
	return nic, ""
}

func networks(text string) []network {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	if strings.HasPrefix(text, "[") {
		var out []network
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return nil
		}
		return out
	}
	var out []network
	for item := range strings.SplitSeq(text, ",") {
		var n network
		item, n.Interface, _ = strings.Cut(strings.TrimSpace(item), "@")
		ns, name, ok := strings.Cut(item, "/")
		if !ok {
			ns, name = "", item
		}
		n.Namespace, n.Name = ns, name
		out = append(out, n)
	}
	return out
}
