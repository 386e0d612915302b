// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

func TestAPoolIsMadeReadAndDeleted(t *testing.T) {
	t.Parallel()
	client, err := dynamic.NewForConfig(Start(t))
	if err != nil {
		t.Fatal(err)
	}
	pools := client.Resource(schema.GroupVersionResource{Group: "weft.dev", Version: "v1alpha1", Resource: "ippools"})
	pool := func(subnet string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "weft.dev/v1alpha1", "kind": "IPPool", "metadata": map[string]any{"name": "smoke"},
			"spec": map[string]any{"ipv6": map[string]any{"subnet": subnet}},
		}}
	}
	if _, err := pools.Create(t.Context(), pool("2001:db8::/64"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := pools.Get(t.Context(), "smoke", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if subnet, _, _ := unstructured.NestedString(got.Object, "spec", "ipv6", "subnet"); subnet != "2001:db8::/64" {
		t.Errorf("the pool's subnet reads back as %q", subnet)
	}
	if err := pools.Delete(t.Context(), "smoke", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := pools.Get(t.Context(), "smoke", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the deleted pool: got %v, want it gone", err)
	}
	_, err = pools.Create(t.Context(), pool("192.0.2.0/24"), metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "must be an IPv6 prefix") {
		t.Errorf("an IPv4 subnet under ipv6: got %v, want it refused and said why", err)
	}
}

func TestAFolderWithoutCRDsIsAnError(t *testing.T) {
	t.Parallel()
	if err := apply(t.Context(), Start(t), t.TempDir()); err == nil {
		t.Error("no CRDs and no error: the lane would prove nothing")
	}
}
