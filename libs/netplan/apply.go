// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package netplan

import (
	"context"
	"errors"
	"fmt"

	"github.com/weft-cni/weft/libs/undo"
)

// Apply does the steps in order and pushes the inverse of each one done on the stack, which may be nil. It stops at the
// first step that does not succeed; what is pushed by then leads back.
func Apply(ctx context.Context, k Kernel, steps []Step, back *undo.Stack) error {
	for _, s := range steps {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%s: %w", line(s.Op), context.Cause(ctx))
		}
		err := k.Do(ctx, s.Op)
		if errors.Is(err, ErrExists) && s.Op.Verb == Add || errors.Is(err, ErrAbsent) && s.Op.Verb == Del {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", line(s.Op), err)
		}
		if s.Undo == nil || back == nil {
			continue
		}
		inverse := *s.Undo
		back.Push(line(inverse), func(ctx context.Context) error {
			err := k.Do(ctx, inverse)
			if errors.Is(err, ErrAbsent) || errors.Is(err, ErrExists) {
				return nil
			}
			return err
		})
	}
	return nil
}

// Remove takes everything observed away, goes on after errors and joins them.
func Remove(ctx context.Context, k Kernel, have State) error {
	steps, err := Removal(have)
	errs := []error{err}
	for _, s := range steps {
		errs = append(errs, Apply(ctx, k, []Step{s}, nil))
	}
	return errors.Join(errs...)
}

// Reach observes, plans and applies.
func Reach(ctx context.Context, k Kernel, want State, back *undo.Stack) error {
	have, err := k.Observe(ctx, want.Query())
	if err != nil {
		return err
	}
	steps, err := Plan(want, have)
	if err != nil {
		return err
	}
	return Apply(ctx, k, steps, back)
}

// Verify returns the differences between what is wanted and what was observed, one sentence each.
func Verify(want, have State) []string {
	steps, err := Plan(want, have)
	if err != nil {
		return []string{err.Error()}
	}
	var diffs []string
	for _, s := range steps {
		diffs = append(diffs, s.Why)
	}
	return diffs
}
