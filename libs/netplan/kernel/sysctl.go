// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/weft-cni/weft/libs/netplan"
)

// procSys is where the kernel's variables are.
const procSys = "/proc/sys"

func (k *Kernel) readSysctls(q netplan.Query, s *netplan.State) error {
	if len(q.Sysctls) == 0 {
		return nil
	}
	return k.ns.Here(func() error {
		for _, key := range q.Sysctls {
			raw, err := os.ReadFile(path.Join(procSys, key))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return fmt.Errorf("read sysctl: %w", err)
			}
			s.Sysctls = append(s.Sysctls, netplan.Sysctl{Key: key, Value: strings.TrimSpace(string(raw))})
		}
		return nil
	})
}

// doSysctl writes a variable. The kernel itself does nothing where the value is the same.
func (k *Kernel) doSysctl(verb netplan.Verb, v netplan.Sysctl) error {
	if verb == netplan.Del {
		return nil
	}
	return k.ns.Here(func() error {
		file, err := os.OpenFile(path.Join(procSys, v.Key), os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("write sysctl: %w", err)
		}
		_, err = file.WriteString(v.Value)
		return errors.Join(err, file.Close())
	})
}

// Sysctls reads variables by their paths; those that do not exist are not in the map.
func (k *Kernel) Sysctls(keys ...string) (map[string]string, error) {
	var s netplan.State
	if err := k.readSysctls(netplan.Query{Sysctls: keys}, &s); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, v := range s.Sysctls {
		out[v.Key] = v.Value
	}
	return out, nil
}
