// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cniplugin

import (
	"log/slog"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/weft-cni/weft/libs/undo"
)

// Request is one call of a plugin. What a verb does not have is empty: GC and STATUS have no container.
type Request[C any] struct {
	Config C

	// Network is the name in the configuration, CNIVersion its version: the one the result is printed in.
	Network, CNIVersion string

	// ContainerID and IfName, with Network, identify the attachment.
	ContainerID, IfName string

	// Netns is the path of the pod's network namespace. On ADD and CHECK it was seen to be one, and not the plugin's
	// own. On DEL it is empty when the runtime gave none, or gave something that is no longer a network namespace, or
	// gave the plugin's own.
	Netns string

	Args Args

	// Prev is the result of the plugins before this one, nil if there is none. On DEL one that cannot be read is
	// logged and nil.
	Prev *current.Result

	// Valid lists, on GC, the attachments that are to stay. The frame refuses GC when the runtime sent no list, so an
	// empty list really means that nothing is in use.
	Valid []types.GCAttachment

	// Raw is the whole configuration. It may hold secrets of other plugins: never log it.
	Raw []byte

	// Log carries verb, network, container_id, ifname and pod. Only warnings and errors are written, to standard error.
	Log *slog.Logger

	// Undo holds the way back. The frame runs it when the handler returns an error or panics, or the result of ADD
	// cannot be printed.
	Undo *undo.Stack
}
