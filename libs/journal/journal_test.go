// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/journal"
)

type data struct {
	Addresses []string
}

func key(n int) journal.Key {
	return journal.Key{Network: "net", ContainerID: fmt.Sprintf("c%d", n), IfName: "eth0"}
}

func open(t *testing.T) (journal.Dir[data], string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "not", "there", "yet")
	return journal.Open[data](path), path
}

func TestSaveLoadRemove(t *testing.T) {
	t.Parallel()
	d, path := open(t)
	if _, err := d.Load(key(1)); !errors.Is(err, journal.ErrAbsent) {
		t.Errorf("Load before Save: %v", err)
	}
	if list, err := d.List(); err != nil || len(list) != 0 {
		t.Errorf("List without a folder: %v, %v", list, err)
	}
	for _, want := range []data{{Addresses: []string{"a", "b"}}, {Addresses: []string{"c"}}} {
		if err := d.Save(key(1), want); err != nil {
			t.Fatal(err)
		}
		got, err := d.Load(key(1))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	for range 2 {
		if err := d.Remove(key(1)); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	if left, err := os.ReadDir(path); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestKeysDoNotMix(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	a := journal.Key{Network: "a-b", ContainerID: "c", IfName: "d"}
	b := journal.Key{Network: "a", ContainerID: "b-c", IfName: "d"}
	if d.Name(a) == d.Name(b) {
		t.Error("two attachments share a file")
	}
}

func TestCorruptFileIsReportedAndHidesNothing(t *testing.T) {
	t.Parallel()
	d, path := open(t)
	for n := range 3 {
		if err := d.Save(key(n), data{}); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(path, d.Name(key(1)))
	for what, content := range map[string]string{"cut off": `{"network":"net","con`, "empty": "", "of another": `{"network":"x","containerID":"y","ifName":"z","data":{}}`} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Load(key(1)); !errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want ErrCorrupt with the file's path", what, err)
		}
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := d.List()
	if len(list) != 2 || !errors.Is(err, journal.ErrCorrupt) {
		t.Errorf("List: %v, %v", list, err)
	}
	if err := d.Remove(key(1)); err != nil {
		t.Errorf("Remove of a corrupt record: %v", err)
	}
	if list, err := d.List(); len(list) != 2 || err != nil {
		t.Errorf("List after Remove: %v, %v", list, err)
	}
}

// TestReaderSeesWholeRecords reads while others write.
func TestReaderSeesWholeRecords(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	short, long := data{}, data{Addresses: strings.Split(strings.Repeat("x ", 5000), " ")}
	if err := d.Save(key(1), short); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		for range 200 {
			if err := errors.Join(d.Save(key(1), long), d.Save(key(1), short)); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	for {
		got, err := d.Load(key(1))
		if err != nil || len(got.Addresses) != 0 && len(got.Addresses) != len(long.Addresses) {
			t.Fatalf("read %d addresses, %v", len(got.Addresses), err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	d, path := open(t)
	counter, inside := 0, sync.WaitGroup{}
	for range 20 {
		inside.Go(func() {
			unlock, err := d.Lock(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			counter++ // The race detector would see two at once.
		})
	}
	inside.Wait()
	if counter != 20 {
		t.Errorf("%d of 20 got the lock", counter)
	}
	unlock, err := d.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := errors.New("too late")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(late)
	if _, err := d.Lock(ctx); !errors.Is(err, late) || !strings.Contains(err.Error(), path) {
		t.Errorf("Lock of a held lock with the deadline over: %v", err)
	}
	unlock()
	if unlock, err = d.Lock(t.Context()); err != nil {
		t.Fatal(err)
	}
	unlock()
	if names, err := d.Names(); err != nil || len(names) != 0 {
		t.Errorf("the lock is taken for a record: %v, %v", names, err)
	}
}
