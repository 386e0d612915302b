// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

var errOwnNetns = errors.New("the network namespace that the plugin itself runs in")

// checkNetns says, in words that follow "got", why path cannot be a pod's network namespace; nil if it can.
func checkNetns(path string, ownAllowed bool) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s, which does not exist", path)
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	fd := int(f.Fd())
	var fsys unix.Statfs_t
	if err := unix.Fstatfs(fd, &fsys); err != nil {
		return fmt.Errorf("%s: statfs: %w", path, err)
	}
	if fsys.Type != unix.NSFS_MAGIC {
		return fmt.Errorf("%s, %s", path, kind(f))
	}
	// Every kind of namespace lives in nsfs; the kernel tells which one since 4.11.
	if t, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE); err == nil && t != unix.CLONE_NEWNET {
		return fmt.Errorf("%s, a namespace of another kind", path)
	}
	if own, err := isOwn(fd); err == nil && own && !ownAllowed {
		return fmt.Errorf("%s, %w", path, errOwnNetns)
	}
	return nil
}

func isOwn(fd int) (bool, error) {
	var theirs, ours unix.Stat_t
	if err := unix.Fstat(fd, &theirs); err != nil {
		return false, err
	}
	if err := unix.Stat("/proc/thread-self/ns/net", &ours); err != nil {
		return false, err
	}
	return theirs.Dev == ours.Dev && theirs.Ino == ours.Ino, nil
}

func kind(f *os.File) string {
	st, err := f.Stat()
	switch {
	case err != nil:
		return "something else"
	case st.IsDir():
		return "a directory"
	case st.Mode().IsRegular():
		return "an ordinary file (a mount that is gone leaves one)"
	}
	return "something else"
}
