// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

// Package undo keeps the way back from a change made in several steps.
//
// Every step that changed something pushes its inverse; when a later step goes wrong, Run takes them back, last
// one first. It is not a transaction log: nothing survives the process (libs/journal is for that).
//
// Failure model: Run never stops early. A step that returns an error or panics is remembered under its name, the
// remaining steps still run, and all failures come back joined.
package undo

import (
	"context"
	"errors"
	"fmt"
)

// Stack is a list of steps back. Its zero value is ready for use. It is not safe for concurrent use.
type Stack struct {
	steps []step
}

type step struct {
	what string
	back func(context.Context) error
}

// Push adds the inverse of a change just made. what names it for the person who reads that it did not work, as a
// verb and its object: "remove link weft0a1b".
func (s *Stack) Push(what string, f func(context.Context) error) {
	s.steps = append(s.steps, step{what: what, back: f})
}

// Len says how many steps are waiting.
func (s *Stack) Len() int { return len(s.steps) }

// Drop forgets all steps: what was done is to stay.
func (s *Stack) Drop() { s.steps = nil }

// Run takes back everything pushed so far, last one first, and empties the stack. Steps pushed by a step while Run
// is under way run as well. The context is handed to every step as it is; a step decides itself whether an expired
// context stops it.
func (s *Stack) Run(ctx context.Context) error {
	var errs []error
	for len(s.steps) > 0 {
		last := s.steps[len(s.steps)-1]
		s.steps = s.steps[:len(s.steps)-1]
		if err := last.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", last.what, err))
		}
	}
	s.steps = nil
	return errors.Join(errs...)
}

func (st step) run(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return st.back(ctx)
}
