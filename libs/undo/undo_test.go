// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package undo_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-cni/weft/libs/undo"
)

var errStuck = errors.New("stuck")

func TestRunGoesBackwardsAndOn(t *testing.T) {
	t.Parallel()
	var done []string
	var s undo.Stack
	s.Push("remove link", func(context.Context) error { done = append(done, "link"); return nil })
	s.Push("remove route", func(context.Context) error { done = append(done, "route"); return errStuck })
	s.Push("remove rule", func(context.Context) error { done = append(done, "rule"); panic("nobody home") })
	s.Push("free address", func(ctx context.Context) error { done = append(done, "address"); return ctx.Err() })
	if s.Len() != 4 {
		t.Fatalf("%d steps waiting", s.Len())
	}
	err := s.Run(t.Context())
	if diff := cmp.Diff([]string{"address", "rule", "route", "link"}, done); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(err, errStuck) || err.Error() != "remove rule: panic: nobody home\nremove route: stuck" {
		t.Errorf("%v", err)
	}
	if err := s.Run(t.Context()); err != nil || len(done) != 4 {
		t.Errorf("second run did something: %v, %v", err, done)
	}
}

func TestStepMayPush(t *testing.T) {
	t.Parallel()
	var done []int
	var s undo.Stack
	s.Push("outer", func(context.Context) error {
		s.Push("inner", func(context.Context) error { done = append(done, 2); return nil })
		done = append(done, 1)
		return nil
	})
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2}, done); diff != "" {
		t.Error(diff)
	}
}

func TestDropForgets(t *testing.T) {
	t.Parallel()
	var s undo.Stack
	s.Push("undo", func(context.Context) error { t.Error("was run"); return nil })
	s.Drop()
	if err := s.Run(t.Context()); err != nil || s.Len() != 0 {
		t.Error(err, s.Len())
	}
}

func ExampleStack() {
	attach := func(fail bool) (err error) {
		var back undo.Stack
		defer func() {
			if err != nil {
				err = errors.Join(err, back.Run(context.Background()))
			}
		}()
		fmt.Println("add link")
		back.Push("remove link", func(context.Context) error { fmt.Println("remove link"); return nil })
		if fail {
			return errors.New("add route: no route to gateway")
		}
		return nil
	}
	fmt.Println(attach(true))
	// Output:
	// add link
	// remove link
	// add route: no route to gateway
}
