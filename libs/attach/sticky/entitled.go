// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package sticky

import "fmt"

// Presence is what a look-up of an owner said.
type Presence int

// A zero Presence proves nothing.
const (
	Unknown Presence = iota
	Present
	Absent
)

// State is the current state of an owner, or of the pod where nothing is kept.
type State struct {
	Presence Presence // of the name
	UID      string   // of what has the name now

	Replicas *int // of a StatefulSet; nil when it is not known
	Start    int  // its ordinals.start

	Finished bool // of a pod: Succeeded or Failed
}

// Verdict is an answer with its reason.
type Verdict struct {
	Entitled bool
	Why      string
}

// Entitled says whether the identity may keep an idle address, given the
// current state of its Owner, or of the pod when nothing is kept.
func (i Identity) Entitled(s State) Verdict {
	what := "Pod " + i.Member
	if i.Keep {
		what = i.Owner.String()
	}
	switch {
	case s.Presence == Absent:
		return Verdict{false, what + " is gone"}
	case s.Presence != Present:
		return Verdict{true, "whether " + what + " exists is not known"}
	case s.UID == "" || i.UID == "":
		return Verdict{true, "which " + what + " it was is not known"}
	case s.UID != i.UID:
		return Verdict{false, fmt.Sprintf("%s is gone, and another one has its name", what)}
	case !i.Keep && s.Finished:
		return Verdict{false, what + " has finished"}
	case i.Keep && isSet(i.Owner):
		return i.inReplicas(s)
	}
	return Verdict{true, what + " exists"}
}

func (i Identity) inReplicas(s State) Verdict {
	n, ok := ordinal(i.Owner, i.Member)
	if !ok || s.Replicas == nil {
		return Verdict{true, fmt.Sprintf("%s exists, and whether it wants %s is not known", i.Owner, i.Member)}
	}
	if n < s.Start || n-s.Start >= *s.Replicas {
		return Verdict{false, fmt.Sprintf("%s wants %s", i.Owner, wanted(i.Owner.Name, s.Start, *s.Replicas))}
	}
	return Verdict{true, fmt.Sprintf("%s wants %s", i.Owner, i.Member)}
}

func wanted(set string, start, replicas int) string {
	switch {
	case replicas <= 0:
		return "no pods"
	case replicas == 1:
		return fmt.Sprintf("%s-%d only", set, start)
	}
	return fmt.Sprintf("%s-%d to %s-%d only", set, start, set, start+replicas-1)
}
