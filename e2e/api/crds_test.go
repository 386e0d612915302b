// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/weft-cni/weft/e2e/api"
)

// fixture is one object that the API server must take, or refuse with a text.
type fixture struct {
	Case    string         `json:"case"`
	Name    string         `json:"name"`
	Spec    map[string]any `json:"spec"`
	Refused string         `json:"refused"`
}

// TestRules tries every case of testdata on the API server, which decides by
// the schema alone.
func TestRules(t *testing.T) {
	t.Parallel()
	client, err := dynamic.NewForConfig(api.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	for file, kind := range map[string]string{"ippools": "IPPool", "ipleases": "IPLease"} {
		resource := client.Resource(schema.GroupVersionResource{Group: "weft.dev", Version: "v1alpha1", Resource: file})
		for _, f := range fixtures(t, "testdata/"+file+".yaml") {
			t.Run(file+"/"+f.Case, func(t *testing.T) {
				t.Parallel()
				_, err := resource.Create(t.Context(), f.object(kind), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
				switch {
				case f.Refused == "" && err != nil:
					t.Errorf("refused: %v", err)
				case f.Refused != "" && err == nil:
					t.Errorf("taken, want it refused with %q", f.Refused)
				case f.Refused != "" && !strings.Contains(err.Error(), f.Refused):
					t.Errorf("refused with %q, want %q in it", err, f.Refused)
				}
			})
		}
	}
}

// TestNothingThatNamesALeaseChanges tries updates that would make a lease's
// name untrue.
func TestNothingThatNamesALeaseChanges(t *testing.T) {
	t.Parallel()
	client, err := dynamic.NewForConfig(api.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	resource := client.Resource(schema.GroupVersionResource{Group: "weft.dev", Version: "v1alpha1", Resource: "ippools"})
	pool := fixture{Name: "fixed", Spec: map[string]any{"ipv4": map[string]any{"subnet": "192.0.2.0/24"}}}.object("IPPool")
	made, err := resource.Create(t.Context(), pool, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(made.Object, "spec", "domain"); got != "default" {
		t.Errorf("spec.domain: got %q, want the default \"default\"", got)
	}
	if err := unstructured.SetNestedField(made.Object, "rack-7", "spec", "domain"); err != nil {
		t.Fatal(err)
	}
	_, err = resource.Update(t.Context(), made, metav1.UpdateOptions{})
	if err == nil || !strings.Contains(err.Error(), "domain cannot change") {
		t.Errorf("a changed domain: got %v, want it refused", err)
	}
}

func (f fixture) object(kind string) *unstructured.Unstructured {
	name := f.Name
	if name == "" {
		name = "blue"
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "weft.dev/v1alpha1", "kind": kind,
		"metadata": map[string]any{"name": name}, "spec": f.Spec,
	}}
}

// fixtures reads the documents of a YAML file; one without a case is an error.
func fixtures(t *testing.T, file string) []fixture {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []fixture
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var f fixture
		err := dec.Decode(&f)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil || f.Case == "" {
			t.Fatalf("%s: document %d: %v, case %q", file, len(out)+1, err, f.Case)
		}
		out = append(out, f)
	}
}
