// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package debts_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/debts"
)

func TestDebts(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	d := debts.Open(state)
	if all, err := d.List(); err != nil || len(all) != 0 {
		t.Fatalf("no folder yet: %v, %v", all, err)
	}
	a := agentapi.ID{Network: "lan", ContainerID: "c", IfName: "eth0"}
	first := debts.Debt{Began: time.Second, BootID: "b", At: time.Unix(1, 0).UTC()}
	if err := d.Save(a, first); err != nil {
		t.Fatal(err)
	}
	all, err := debts.Open(state).List()
	if diff := cmp.Diff([]debts.Owed{{ID: a, Debt: first}}, all); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	again := debts.Debt{Began: 2 * time.Second, BootID: "b", At: time.Unix(2, 0).UTC()}
	if err := d.Save(a, again); err != nil {
		t.Fatal(err)
	}
	if err := d.Paid(debts.Owed{ID: a, Debt: first}); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := d.Load(a); !ok || err != nil || got != again {
		t.Errorf("after the first was paid: %v, %v, %v, want the second", got, ok, err)
	}
	if err := d.Paid(debts.Owed{ID: a, Debt: again}); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := d.Load(a); ok || err != nil {
		t.Errorf("a debt that was paid is there: %v", err)
	}
}

func TestADamagedFileHidesNoOther(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	d := debts.Open(state)
	a := agentapi.ID{Network: "lan", ContainerID: "c", IfName: "eth0"}
	if err := d.Save(a, debts.Debt{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, debts.Folder, "0123.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := d.List(); err == nil || len(all) != 1 {
		t.Errorf("%v, %v, want one debt and an error", all, err)
	}
	if names, err := d.DropDamaged(); err != nil || len(names) != 1 || names[0] != "0123.json" {
		t.Errorf("dropped %v, %v", names, err)
	}
	if all, err := d.List(); err != nil || len(all) != 1 {
		t.Errorf("%v, %v, want one debt", all, err)
	}
}
