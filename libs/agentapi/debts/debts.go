// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package debts keeps the releases that are owed to the agent, on disk.
//
// Job: a plugin whose DEL the agent did not hear, and an agent whose release the
// API server did not hear, write down the attachment, report success, and the
// agent delivers later. A record is on the disk when Save returns.
//
// Non-goals: delivering.
//
// Failure model: one file per attachment (package journal). A file that power
// loss damaged names no attachment and is dropped with a log line: what it was
// for is of an earlier boot, and the node's sweep frees that.
package debts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/journal"
)

// Folder of the debts below the state directory of weft-ipam.
const Folder = "debts"

// Debt is a release that is owed.
type Debt struct {
	// Began is when the DEL began, since the boot that BootID names.
	Began  time.Duration `json:"began"`
	BootID string        `json:"bootID,omitempty"`
	At     time.Time     `json:"at"` // for people
}

// Dir is a folder of debts. Make it with Open.
type Dir struct {
	path    string
	records journal.Dir[Debt]
}

// Open returns the debts below a state directory. Nothing has to exist yet.
func Open(stateDir string) Dir {
	path := filepath.Join(stateDir, Folder)
	return Dir{path: path, records: journal.Open[Debt](path)}
}

func key(id agentapi.ID) journal.Key {
	return journal.Key{Network: id.Network, ContainerID: id.ContainerID, IfName: id.IfName}
}

// Save writes a debt down.
func (d Dir) Save(id agentapi.ID, debt Debt) error {
	if err := d.records.Save(key(id), debt); err != nil {
		return fmt.Errorf("write the debt down: %w", err)
	}
	return errors.Join(sync(filepath.Join(d.path, d.records.Name(key(id)))), sync(d.path))
}

// Load returns the debt of an attachment, if there is one.
func (d Dir) Load(id agentapi.ID) (Debt, bool, error) {
	debt, err := d.records.Load(key(id))
	switch {
	case err == nil:
		return debt, true, nil
	case errors.Is(err, journal.ErrAbsent), errors.Is(err, journal.ErrCorrupt):
		return Debt{}, false, nil
	}
	return Debt{}, false, err
}

// Owed is a debt with whose it is.
type Owed struct {
	agentapi.ID
	Debt
}

// List returns all debts that can be read, and the errors of the others.
func (d Dir) List() ([]Owed, error) {
	records, err := d.records.List()
	out := make([]Owed, 0, len(records))
	for _, r := range records {
		out = append(out, Owed{ID: agentapi.ID{Network: r.Network, ContainerID: r.ContainerID, IfName: r.IfName}, Debt: r.Data})
	}
	return out, err
}

// Paid removes a debt that was delivered, unless another one of the same
// attachment came meanwhile.
func (d Dir) Paid(o Owed) error {
	now, ok, err := d.Load(o.ID)
	if err != nil || !ok || now.Began != o.Began || now.BootID != o.BootID {
		return err
	}
	return d.records.Remove(key(o.ID))
}

// DropDamaged removes the files that cannot be read, and returns their names.
func (d Dir) DropDamaged() ([]string, error) {
	names, err := d.records.Names()
	errs := []error{err}
	good := map[string]bool{}
	records, _ := d.records.List() // the others are what is looked for
	for _, r := range records {
		good[d.records.Name(r.Key)] = true
	}
	var out []string
	for _, name := range names {
		if !good[name] {
			out = append(out, name)
			errs = append(errs, d.records.Drop(name))
		}
	}
	return out, errors.Join(errs...)
}

func sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync the debt: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
