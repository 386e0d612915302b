// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package poolview_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/weft-cni/weft/libs/attach"
	"github.com/weft-cni/weft/libs/attach/sticky"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/k8s/poolview"
	"github.com/weft-cni/weft/libs/poolselect"
)

// page asks the questions of docs/selection.md.
type page struct {
	namespaces, nodes map[string]object
	pools             []poolselect.Pool
}

// object is what the examples need of a Namespace, Node or Pod.
type object struct {
	Kind       string            `json:"kind"`
	APIVersion string            `json:"apiVersion"`
	Metadata   metav1.ObjectMeta `json:"metadata"`
	Spec       struct {
		NodeName string `json:"nodeName"`
	} `json:"spec"`
}

// TestSelectionPage compares every answer on the page with the one that the
// code gives. WEFT_UPDATE=1 writes the answers into the page.
func TestSelectionPage(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "..", "docs", "selection.md")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the module stands alone, without the repository's docs")
	}
	if err != nil {
		t.Fatal(err)
	}
	p := page{namespaces: map[string]object{}, nodes: map[string]object{}}
	cluster := regexp.MustCompile("(?s)\n```yaml cluster\n(.*?)```\n").FindSubmatch(raw)
	if cluster == nil {
		t.Fatal("the page has no objects")
	}
	p.load(t, string(cluster[1]))

	const questions = 10
	asked := 0
	example := regexp.MustCompile("(?s)\n```yaml (pod|kept)\n(.*?)```\n\n```text answer\n(.*?)```\n")
	answered := example.ReplaceAllFunc(raw, func(block []byte) []byte {
		asked++
		m := example.FindSubmatch(block)
		answer := p.answer(t, string(m[2]))
		if string(m[1]) == "kept" {
			answer = kept(t, string(m[2]))
		}
		return fmt.Appendf(nil, "\n```yaml %s\n%s```\n\n```text answer\n%s```\n", m[1], m[2], answer)
	})
	if asked != questions || strings.Count(string(raw), "```text answer") != questions {
		t.Errorf("%d questions with %d answers, want %d", asked, strings.Count(string(raw), "```text answer"), questions)
	}
	if os.Getenv("WEFT_UPDATE") != "" {
		if err := os.WriteFile(path, answered, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(raw), string(answered)); d != "" {
		t.Errorf("the page differs from what the code says; WEFT_UPDATE=1 writes it anew\n%s", d)
	}
}

// TestSelectionPageGrammar reads every value that the page shows.
func TestSelectionPageGrammar(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "selection.md"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("the module stands alone, without the repository's docs")
	}
	if err != nil {
		t.Fatal(err)
	}
	grammar, _, _ := strings.Cut(string(raw), "```yaml")
	lines := regexp.MustCompile(`(?m)^    (weft\.dev/[a-z]+): ('.*'|.*?)(?:  .*)?$`).FindAllStringSubmatch(grammar, -1)
	if len(lines) != 10 {
		t.Errorf("%d values, want 10", len(lines))
	}
	for _, m := range lines {
		_, err := attach.Wanted(attach.Input{Pod: map[string]string{m[1]: strings.Trim(m[2], "'")}, NIC: attach.NIC{Name: "eth0"}})
		if err != nil {
			t.Errorf("%s: %v", m[0], err)
		}
	}
}

func (p *page) load(t *testing.T, text string) {
	t.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		switch o.Kind {
		case "Namespace":
			p.namespaces[o.Metadata.Name] = o
		case "Node":
			p.nodes[o.Metadata.Name] = o
		case "IPPool":
			var pool v1alpha1.IPPool
			if err := yaml.UnmarshalStrict([]byte(doc), &pool); err != nil {
				t.Fatal(err)
			}
			view, _, err := poolview.Of(&pool)
			if err != nil {
				t.Fatal(err)
			}
			p.pools = append(p.pools, view)
		default:
			t.Fatalf("kind %q", o.Kind)
		}
	}
}

func decode(t *testing.T, text string) object {
	t.Helper()
	var o object
	if err := yaml.UnmarshalStrict([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// answer is what weft says about eth0 of the pod.
func (p *page) answer(t *testing.T, text string) string {
	t.Helper()
	pod := decode(t, text)
	ns := p.namespaces[pod.Metadata.Namespace]
	w, err := attach.Wanted(attach.Input{
		Pod: pod.Metadata.Annotations, Namespace: ns.Metadata.Annotations, NIC: attach.NIC{Name: "eth0"},
	})
	if invalid := (*attach.InvalidError)(nil); errors.As(err, &invalid) {
		var b strings.Builder
		for _, problem := range invalid.Problems {
			b.WriteString(problem.String() + "\n")
		}
		return b.String()
	}
	s, selectErr := poolselect.Select(p.pools, poolselect.Request{Want: w, Subject: poolselect.Subject{
		Namespace: poolselect.Object{Name: ns.Metadata.Name, Labels: ns.Metadata.Labels},
		Pod:       poolselect.Object{Name: pod.Metadata.Name, Labels: pod.Metadata.Labels},
		Node:      poolselect.Object{Name: pod.Spec.NodeName, Labels: p.nodes[pod.Spec.NodeName].Metadata.Labels},
		NIC:       "eth0",
	}})
	if selectErr != nil && !strings.HasPrefix(s.Explanation.Full(), selectErr.Error()) {
		t.Errorf("the error %q is not the first line", selectErr)
	}
	return s.Explanation.Full()
}

// kept is for whom the addresses of eth0 are kept.
func kept(t *testing.T, text string) string {
	t.Helper()
	o := decode(t, text)
	pod := sticky.Pod{
		Namespace: o.Metadata.Namespace, Name: o.Metadata.Name, UID: string(o.Metadata.UID),
		GenerateName: o.Metadata.GenerateName, Labels: o.Metadata.Labels, Annotations: o.Metadata.Annotations,
		Complete: true,
	}
	for _, r := range o.Metadata.OwnerReferences {
		pod.Owners = append(pod.Owners, sticky.Owner{APIVersion: r.APIVersion, Kind: r.Kind, Name: r.Name, UID: string(r.UID)})
	}
	id, err := sticky.Of(pod)
	if err != nil {
		return err.Error() + "\n"
	}
	h := id.Holder("eth0")
	return fmt.Sprintf("eth0: kept by %s %s/%s for %s %s\n", h.Kind, h.Namespace, h.Name, id.Owner, h.UID)
}
