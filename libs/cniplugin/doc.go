// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package cniplugin is the frame every weft plugin stands in: a plugin fills in a Plugin and its main calls Main.
//
// The protocol itself is carried by containernetworking/cni's skel. The frame adds what a plugin must never get
// wrong on its own: configuration decoded strictly with all problems reported at once, numbered errors in one line,
// a panic that is an error and never a success, a deadline, an undo stack that runs when ADD does not end well, a
// previous result checked before anything is done, garbage collection refused without a list, and a log that never
// mixes with the result.
//
// The text of an error ends in its number, as in "[e100]", because that text is all that a pod's events show of it;
// docs/errors.md has a section for each.
//
// Non-goals: it executes no delegate, knows no Kubernetes, keeps no state, and enters no network namespace.
//
// Failure model:
//   - Everything the frame can refuse (versions, environment, configuration, namespace path, previous result, missing
//     attachment list) is refused before the handler runs, so nothing has to be undone.
//   - DEL is not refused for a bad configuration, namespace path or previous result: these are logged, and the handler
//     runs with what could be read, because a DEL that fails keeps the pod from ending.
//   - A panic in the goroutine that runs the handler becomes error 999 and the undo stack runs. A panic in a goroutine
//     that the handler started ends the process with exit code 2 and no result, which a runtime takes as an error too;
//     nothing is undone then, so a handler that starts goroutines recovers in them.
//   - The deadline is a context deadline. The frame does not kill a handler that ignores it.
package cniplugin
