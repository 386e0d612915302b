// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/weft-cni/weft/libs/errcode"
)

// newLog writes JSON lines from warning up: a runtime keeps a plugin's standard error only when the plugin succeeds,
// and then nobody wants to read what went well.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// printError writes the error object. It adds the version, which the specification asks for and types.Error leaves
// out, and puts the number into the text: a pod's events show the text only.
func printError(w io.Writer, cniVersion string, e *types.Error) error {
	if cniVersion == "" {
		cniVersion = cniversion.Current() // refused before the configuration was read
	}
	tag := fmt.Sprintf(" [e%d]", e.Code)
	b, err := json.MarshalIndent(struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{cniVersion, types.NewError(e.Code, cut(e.Msg, errcode.MaxMsg-len(tag))+tag, e.Details)}, "", "    ")
	if err != nil {
		return fmt.Errorf("encode error: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
