// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/containernetworking/cni/pkg/types"
)

// newLog writes JSON lines from warning up: a runtime keeps a plugin's standard error only when the plugin succeeds,
// and then nobody wants to read what went well.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// printError writes the error object with the version that the specification asks for and types.Error leaves out.
func printError(w io.Writer, cniVersion string, e *types.Error) error {
	b, err := json.MarshalIndent(struct {
		CNIVersion string `json:"cniVersion,omitempty"`
		*types.Error
	}{cniVersion, e}, "", "    ")
	if err != nil {
		return fmt.Errorf("encode error: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
