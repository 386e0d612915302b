// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package journal keeps one small file per attachment, so that DEL and GC can work from local state alone.
//
// Job: save, load, remove and list records by (network, container, interface), each in a file of its own that is replaced as
// a whole; and one lock for those who change what several attachments share.
//
// Non-goals: surviving power loss. The folder belongs on /run, where files die with the kernel state that they describe; a
// record that is to outlive the machine's power belongs in a store that syncs.
//
// Failure model: a reader sees a whole record or none. A file that cannot be understood is ErrCorrupt, with its path, and
// hides no other record; Remove removes it like any other.
package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

var (
	// ErrAbsent says that there is no record of the attachment.
	ErrAbsent = errors.New("no record")
	// ErrCorrupt says that there is a file and that it cannot be understood.
	ErrCorrupt = errors.New("the record cannot be understood")
)

// Key names an attachment.
type Key struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	IfName      string `json:"ifName"`
}

// Record is what is kept of one attachment.
type Record[T any] struct {
	Key
	Data T `json:"data"`
}

// Dir is a folder of records.
type Dir[T any] struct {
	path string
}

// Open returns the folder, which need not exist before the first Save.
func Open[T any](path string) Dir[T] { return Dir[T]{path: path} }

const (
	suffix    = ".json"
	tempMark  = ".tmp"
	lockName  = "lock"
	dirMode   = 0o700
	fileMode  = 0o600
	nameBytes = 16
)

// Save writes a record, replacing an older one of the same attachment as a whole.
func (d Dir[T]) Save(key Key, data T) error {
	raw, err := json.Marshal(Record[T]{Key: key, Data: data})
	if err != nil {
		return fmt.Errorf("encode journal record: %w", err)
	}
	file := d.file(key)
	err = os.WriteFile(file+tempMark, raw, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(d.path, dirMode); err != nil {
			return fmt.Errorf("make the journal's folder: %w", err)
		}
		err = os.WriteFile(file+tempMark, raw, fileMode)
	}
	if err == nil {
		err = os.Rename(file+tempMark, file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write journal record: %w", err), remove(file+tempMark))
	}
	return nil
}

// Load returns the record of an attachment, ErrAbsent or ErrCorrupt.
func (d Dir[T]) Load(key Key) (T, error) {
	record, err := read[T](d.file(key))
	if err == nil && record.Key != key {
		err = fmt.Errorf("journal record %s is of %s/%s/%s: %w", d.file(key), record.Network, record.ContainerID, record.IfName, ErrCorrupt)
	}
	return record.Data, err
}

// Remove removes the record of an attachment, whatever is in it. No record is success.
func (d Dir[T]) Remove(key Key) error {
	return errors.Join(remove(d.file(key)), remove(d.file(key)+tempMark))
}

// List returns all records that can be understood, and the errors of the others joined.
func (d Dir[T]) List() ([]Record[T], error) {
	names, err := d.Names()
	errs := []error{err}
	var out []Record[T]
	for _, name := range names {
		record, err := read[T](filepath.Join(d.path, name))
		switch {
		case errors.Is(err, ErrAbsent): // Removed in between.
		case err != nil:
			errs = append(errs, err)
		default:
			out = append(out, record)
		}
	}
	return out, errors.Join(errs...)
}

// Names returns the names of all files that hold records, also of those that cannot be understood.
func (d Dir[T]) Names() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

// Name is the name of the file of an attachment's record.
func (d Dir[T]) Name(key Key) string {
	sum := sha256.Sum256([]byte(key.Network + "/" + key.ContainerID + "/" + key.IfName))
	return hex.EncodeToString(sum[:nameBytes]) + suffix
}

// Drop removes a record by the name of its file.
func (d Dir[T]) Drop(name string) error { return remove(filepath.Join(d.path, filepath.Base(name))) }

// Lock waits until no other process holds the folder's lock, and returns the function that lets go of it. The kernel lets
// go of it when the process ends.
func (d Dir[T]) Lock(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(d.path, dirMode); err != nil {
		return nil, fmt.Errorf("make the journal's folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(d.path, lockName), os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, fmt.Errorf("open the journal's lock: %w", err)
	}
	fd := int(file.Fd())
	if err := flock(fd, unix.LOCK_EX|unix.LOCK_NB); err == nil {
		return func() { _ = file.Close() }, nil
	}
	locked := make(chan error, 1)
	go func() { locked <- flock(fd, unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the journal: %w", err), file.Close())
		}
		return func() { _ = file.Close() }, nil
	case <-ctx.Done():
		go func() {
			<-locked //nolint:errcheck // Nobody wants the lock any more.
			_ = file.Close()
		}()
		return nil, fmt.Errorf("wait for the journal's lock %s: %w", file.Name(), context.Cause(ctx))
	}
}

// flock locks a file, again when a signal came in between.
func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (d Dir[T]) file(key Key) string { return filepath.Join(d.path, d.Name(key)) }

func read[T any](file string) (Record[T], error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Record[T]{}, ErrAbsent
	}
	if err != nil {
		return Record[T]{}, fmt.Errorf("read journal record: %w", err)
	}
	var record Record[T]
	if err := json.Unmarshal(raw, &record); err != nil {
		return Record[T]{}, fmt.Errorf("journal record %s: %w: %w", file, ErrCorrupt, err)
	}
	return record, nil
}

// remove removes a file; none is success.
func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove journal record: %w", err)
	}
	return nil
}
