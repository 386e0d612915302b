// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cnitest

import (
	"fmt"
	"slices"
	"strings"
)

// ConflistInfo is the info string of a fenced block that holds a conflist; a
// word after it labels the block.
const ConflistInfo = "json conflist"

// Block is one conflist of a Markdown file.
type Block struct {
	Label string // what follows ConflistInfo, often nothing
	Line  int    // of the opening fence, from 1
	JSON  []byte
}

// Conflists returns the conflist blocks of a Markdown text. A fenced JSON
// block that holds a "plugins" list without being labelled as a conflist is an
// error: nobody would run it.
func Conflists(markdown string) ([]Block, error) {
	var blocks []Block
	lines := strings.Split(markdown, "\n")
	for i := 0; i < len(lines); i++ {
		info, ok := strings.CutPrefix(lines[i], "```")
		if !ok {
			continue
		}
		start := i
		length := slices.Index(lines[start+1:], "```")
		if length < 0 {
			return nil, fmt.Errorf("line %d: the block has no end", start+1)
		}
		i += 1 + length
		body := strings.Join(lines[start+1:i], "\n")
		label, isConflist := strings.CutPrefix(info, ConflistInfo)
		switch {
		case isConflist:
			blocks = append(blocks, Block{Label: strings.TrimSpace(label), Line: start + 1, JSON: []byte(body)})
		case strings.HasPrefix(info, "json") && strings.Contains(body, `"plugins"`):
			return nil, fmt.Errorf("line %d: a conflist must be fenced as ```%s, so that it is executed", start+1, ConflistInfo)
		}
	}
	return blocks, nil
}
