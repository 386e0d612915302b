// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"strings"
)

// Args is what weft reads from CNI_ARGS. All of it is optional.
type Args struct {
	PodNamespace, PodName, PodUID string // K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_UID
	IP                            string // IP, deprecated in favour of args.cni.ips, as it was written
}

// Pod is "namespace/name", or empty when the call is for no pod that is known.
func (a Args) Pod() string {
	if a.PodName == "" {
		return ""
	}
	return a.PodNamespace + "/" + a.PodName
}

// parseArgs reads "KEY=VALUE;KEY=VALUE". Keys it does not know are other people's and pass. A pair that is none, or
// a key of ours with two different values, is a problem.
func parseArgs(s string) (Args, Problems) {
	var a Args
	var ps Problems
	known := map[string]*string{
		"K8S_POD_NAMESPACE": &a.PodNamespace,
		"K8S_POD_NAME":      &a.PodName,
		"K8S_POD_UID":       &a.PodUID,
		"IP":                &a.IP,
	}
	for pair := range strings.SplitSeq(s, ";") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			ps.Add("CNI_ARGS", quote(pair), "KEY=VALUE pairs separated by semicolons")
			continue
		}
		field := known[key]
		if field == nil {
			continue
		}
		if *field != "" && *field != value {
			ps.Add("CNI_ARGS", key+" twice, "+quote(*field)+" and "+quote(value), "one value")
			continue
		}
		*field = value
	}
	return a, ps
}
