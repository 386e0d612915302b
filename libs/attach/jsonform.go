// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package attach

import (
	gojson "encoding/json"
	"errors"
	"fmt"
	"strings"

	"sigs.k8s.io/json"
)

// isJSON tells the JSON form from a pattern that begins with a class.
func isJSON(text string) bool {
	rest, ok := strings.CutPrefix(text, "[")
	rest = strings.TrimSpace(rest)
	return ok && rest != "" && (rest[0] == '"' || rest[0] == '{') || strings.HasPrefix(text, "{")
}

// jsonEntry is an entry of the JSON form.
type jsonEntry struct {
	Interface *string  `json:"interface"`
	Pools     []string `json:"pools"`
	IPs       []string `json:"ips"`
	Claim     *string  `json:"claim"`
}

func (r *reader) parseJSON(where, text string, k kind) []entry {
	instead := fmt.Sprintf(`write [{"interface": "eth0", "%s": %s}]`, k.key(), k.jsonExample())
	if strings.TrimSpace(text[1:]) != "" && strings.TrimSpace(text[1:])[0] == '"' {
		var items []string
		if why := unmarshal(text, &items); why != "" {
			r.add(where, "", "is JSON that cannot be read: "+why, instead)
			return nil
		}
		return []entry{{items: trimmed(items)}}
	}
	var in []jsonEntry
	if why := unmarshal(text, &in); why != "" {
		r.add(where, "", "is JSON that cannot be read: "+why, instead)
		return nil
	}
	out := make([]entry, 0, len(in))
	for i, j := range in {
		e := entry{at: fmt.Sprintf("entry %d", i+1), items: r.jsonItems(where, i, j, k)}
		if j.Interface != nil {
			e.nic = strings.TrimSpace(*j.Interface)
			if why := badNIC(e.nic); why != "" {
				if e.nic == "" {
					why = "has an interface without a name"
				}
				r.add(where, e.at, why, instead)
				e.nic = "?"
			}
		}
		out = append(out, e)
	}
	return out
}

// jsonItems takes the items of the annotation's kind and refuses the others.
func (r *reader) jsonItems(where string, i int, j jsonEntry, k kind) []string {
	items := map[kind][]string{kindPools: j.Pools, kindIPs: j.IPs}
	if j.Claim != nil {
		items[kindClaim] = []string{*j.Claim}
	}
	for _, other := range []kind{kindPools, kindIPs, kindClaim} {
		if other != k && items[other] != nil {
			r.add(where, fmt.Sprintf("entry %d", i+1), fmt.Sprintf("has the key %q", other.key()),
				fmt.Sprintf("write %q here, and %s in the annotation weft.dev/%s", k.key(), other.key(), other.key()))
		}
	}
	return trimmed(items[k])
}

func (k kind) jsonExample() string {
	if k == kindClaim {
		return fmt.Sprintf("%q", k.example())
	}
	return fmt.Sprintf("[%q]", k.example())
}

// unmarshal is strict: unknown and double keys are errors, and case counts. It
// returns what is wrong in words without Go types, or "".
func unmarshal(text string, into any) string {
	strict, err := json.UnmarshalStrict([]byte(text), into)
	var mismatch *gojson.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return fmt.Sprintf("%s must not be a JSON %s", mismatch.Field, mismatch.Value)
	case errors.As(err, &mismatch):
		return "a JSON " + mismatch.Value + " stands where something else belongs"
	case err != nil:
		return err.Error()
	}
	texts := make([]string, len(strict))
	for i, e := range strict {
		texts[i] = e.Error()
	}
	return strings.Join(texts, ", ")
}
