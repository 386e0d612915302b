// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package leasestore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// rereads bounds how often a write is tried again because only metadata changed.
const rereads = 4

// Config makes a Store.
type Config struct {
	Server *rest.Config
	// Node is the node whose leases the store sees and whose name seeds the
	// choice. Without it Scan lists the whole cluster: for the controller.
	Node string
	Now  func() time.Time // nil is time.Now
}

// Store is a lease.Store and lease.Chooser over an API server. Make it with
// New; it is safe for concurrent use.
type Store struct {
	client *client
	node   string
	now    func() time.Time

	loading sync.Mutex // one load of the index at a time

	mu      sync.Mutex
	index   index
	seen    map[lease.Key]version
	doubts  map[lease.Key]*doubt
	picked  map[lease.Key]bool      // given by Choose, not yet claimed
	claims  map[lease.Key]int       // claims under way
	avoid   map[lease.Key]learnt    // taken or about to be
	offers  map[lease.Key]time.Time // freed, until when no hint may say so
	views   map[string]*view        // by Want.Ring
	sheets  map[string]*sheet       // by pool
	flights map[string]chan struct{}
}

var (
	_ lease.Store   = (*Store)(nil)
	_ lease.Chooser = (*Store)(nil)
)

// New returns a store. It sends no request.
func New(c Config) (*Store, error) {
	client, err := newClient(c.Server)
	if err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Store{
		client: client, node: c.Node, now: c.Now,
		index:   index{entries: map[lease.Key]lease.Entry{}, unsure: map[lease.Key]bool{}},
		seen:    map[lease.Key]version{},
		doubts:  map[lease.Key]*doubt{},
		picked:  map[lease.Key]bool{},
		claims:  map[lease.Key]int{},
		avoid:   map[lease.Key]learnt{},
		offers:  map[lease.Key]time.Time{},
		views:   map[string]*view{},
		sheets:  map[string]*sheet{},
		flights: map[string]chan struct{}{},
	}, nil
}

// Claim implements lease.Store.
func (s *Store) Claim(ctx context.Context, k lease.Key, r lease.Record) (lease.Version, error) {
	picked := s.takePicked(k)
	if !s.beginClaim(k) {
		return "", lease.ErrTaken
	}
	defer s.endClaim(k)
	for range rereads {
		l, err := s.client.create(ctx, object(k, r))
		switch {
		case err == nil:
			v, err := s.keep(l)
			s.claimed(k, v)
			s.won(k)
			return v, err
		case errors.Is(err, lease.ErrUnknown):
			s.addDoubt(k, r)
			return "", err
		case !apierrors.IsAlreadyExists(err):
			s.unpick(k)
			return "", clean(err)
		}
		s.missed(k)
		if picked && !s.inDoubt(k) {
			return "", lease.ErrTaken
		}
		v, again, err := s.whoWasFirst(ctx, k, r)
		if err != nil || !again {
			return v, err
		}
	}
	return "", lease.ErrTaken
}

// whoWasFirst looks why a key is taken: by an earlier request of ours, which is
// success; by a rest that is over, which it ends (again is true); or by somebody.
func (s *Store) whoWasFirst(ctx context.Context, k lease.Key, r lease.Record) (v lease.Version, again bool, err error) {
	l, err := s.client.get(ctx, k.String())
	if apierrors.IsNotFound(err) {
		return "", true, nil
	}
	if err != nil {
		return "", false, clean(err)
	}
	e, err := Entry(l)
	if err != nil {
		return "", false, err
	}
	switch {
	case e.Until.IsZero() && ours(e.Record, r):
		s.takeDoubt(k)
		v, err := s.keep(l)
		return v, false, err
	case e.Until.IsZero() || s.now().Before(e.Until):
		return "", false, lease.ErrTaken
	}
	lifted, err := s.lift(ctx, l)
	if err == nil && !lifted {
		err = lease.ErrTaken
	}
	return "", lifted, err
}

// ours says whether a record is what we wanted to write.
func ours(found, wanted lease.Record) bool {
	a, b := found.Attachment, wanted.Attachment
	return a.ID == b.ID && a.ID != (lease.ID{}) && a.PodUID == b.PodUID && a.Node == b.Node && found.Pool == wanted.Pool
}

// Swap implements lease.Store.
func (s *Store) Swap(ctx context.Context, k lease.Key, v lease.Version, r lease.Record) (lease.Version, error) {
	at, err := s.at(ctx, k, v)
	if err != nil {
		return "", err
	}
	for range rereads {
		l, err := s.client.patch(ctx, k.String(), swap(k, at, r))
		switch {
		case err == nil:
			return s.keep(l)
		case errors.Is(err, lease.ErrUnknown):
			s.doubtEntry(k)
			return "", err
		case !stale(err):
			return "", clean(err)
		}
		if at, err = s.reread(ctx, k, v); err != nil {
			return "", err
		}
	}
	return "", lease.ErrStale
}

// Release implements lease.Store. Given the version of a resting lease and no
// quarantine it ends the rest.
func (s *Store) Release(ctx context.Context, k lease.Key, v lease.Version, quarantine time.Duration) error {
	at, err := s.at(ctx, k, v)
	for range rereads {
		if errors.Is(err, lease.ErrStale) {
			return nil
		}
		if err != nil {
			return err
		}
		err = s.release(ctx, k, at, max(0, quarantine))
		if errors.Is(err, lease.ErrUnknown) {
			s.doubtEntry(k)
			return err
		}
		if err == nil || !stale(err) {
			return clean(err)
		}
		at, err = s.reread(ctx, k, v)
	}
	return errors.New("the lease is being changed too often to be released")
}

func (s *Store) release(ctx context.Context, k lease.Key, at version, quarantine time.Duration) error {
	if quarantine != at.rest {
		// The finalizer first: until the DELETE the lease is held, as it was.
		l, err := s.client.patch(ctx, k.String(), restFor(at, quarantine))
		if err != nil {
			return err
		}
		if l.DeletionTimestamp != nil {
			s.forget(k, true)
			return nil
		}
		at = versionOf(l)
	}
	l, err := s.client.remove(ctx, k.String(), at.uid, at.resource)
	if err != nil {
		return err
	}
	if l.UID == "" {
		s.forget(k, true)
		return nil
	}
	_, err = s.keep(l)
	return err
}

// lift ends the rest of a lease: without its finalizer the server drops it.
// False means that somebody else was faster.
func (s *Store) lift(ctx context.Context, l *v1alpha1.IPLease) (bool, error) {
	k, err := lease.ParseKey(l.Name)
	if err != nil {
		return false, fmt.Errorf("lease %s: %w", l.Name, err)
	}
	others := slices.DeleteFunc(slices.Clone(l.Finalizers), func(f string) bool { return f == v1alpha1.CooldownFinalizer })
	if l.DeletionTimestamp == nil || len(others) == len(l.Finalizers) {
		return false, nil
	}
	_, err = s.client.patch(ctx, l.Name, mergePatch(map[string]any{"resourceVersion": l.ResourceVersion, "finalizers": others}, nil))
	if stale(err) {
		return false, nil
	}
	if err != nil {
		return false, clean(err)
	}
	s.forget(k, true)
	return true, nil
}

// Get implements lease.Store.
func (s *Store) Get(ctx context.Context, k lease.Key) (lease.Record, lease.Version, error) {
	doubted := s.inDoubt(k)
	l, err := s.client.get(ctx, k.String())
	if apierrors.IsNotFound(err) {
		s.forget(k, false)
		return lease.Record{}, "", lease.ErrAbsent
	}
	if err != nil {
		return lease.Record{}, "", clean(err)
	}
	e, err := Entry(l)
	if err != nil {
		return lease.Record{}, "", err
	}
	if doubted && s.isDoubted(e) && !s.takeDoubt(k) {
		return lease.Record{}, "", lease.ErrUnknown // Settle is about to release it
	}
	if _, err := s.learn(l); err != nil {
		return lease.Record{}, "", err
	}
	if !e.Until.IsZero() {
		return lease.Record{}, "", lease.ErrAbsent
	}
	return e.Record, e.Version, nil
}

// Scan implements lease.Store; it yields the state at its start.
func (s *Store) Scan(ctx context.Context, f lease.Filter) iter.Seq2[lease.Entry, error] {
	return func(yield func(lease.Entry, error) bool) {
		entries, err := s.all(ctx, f)
		if err != nil {
			yield(lease.Entry{}, err)
			return
		}
		slices.SortFunc(entries, func(x, y lease.Entry) int {
			return cmp.Or(cmp.Compare(x.Key.Domain, y.Key.Domain), x.Key.Addr.Compare(y.Key.Addr))
		})
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *Store) all(ctx context.Context, f lease.Filter) ([]lease.Entry, error) {
	if s.node != "" {
		return s.known(ctx, f)
	}
	var selectors []string
	for label, value := range map[string]string{v1alpha1.PoolLabel: f.Pool, v1alpha1.NodeLabel: f.Node} {
		if value != "" {
			selectors = append(selectors, label+"="+Label(value))
		}
	}
	entries, err := s.list(ctx, strings.Join(selectors, ","))
	return slices.DeleteFunc(entries, func(e lease.Entry) bool { return !f.Matches(e) }), err
}

// list reads all pages, from the beginning again when the server has forgotten
// the state that the first one was of.
func (s *Store) list(ctx context.Context, selector string) (out []lease.Entry, err error) {
	token := ""
	for tries := rereads; ; {
		page, err := s.client.list(ctx, selector, token)
		if apierrors.IsResourceExpired(err) && tries > 0 {
			tries--
			out, token = nil, ""
			continue
		}
		if err != nil {
			return nil, clean(err)
		}
		for i := range page.Items {
			e, err := Entry(&page.Items[i])
			if err != nil {
				return nil, err
			}
			out = append(out, e)
			s.remember(e.Key, versionOf(&page.Items[i]))
		}
		if token = page.Continue; token == "" {
			return out, nil
		}
	}
}

// at returns what a version stands for: as remembered, else as the server says.
func (s *Store) at(ctx context.Context, k lease.Key, v lease.Version) (version, error) {
	s.mu.Lock()
	at, ok := s.seen[k]
	s.mu.Unlock()
	if ok && at.encode() == v {
		return at, nil
	}
	return s.reread(ctx, k, v)
}

// reread reads what a version stands for, or returns lease.ErrStale.
func (s *Store) reread(ctx context.Context, k lease.Key, v lease.Version) (version, error) {
	l, err := s.client.get(ctx, k.String())
	if apierrors.IsNotFound(err) {
		s.forget(k, false)
		return version{}, lease.ErrStale
	}
	if err != nil {
		return version{}, clean(err)
	}
	if _, err := s.learn(l); err != nil {
		return version{}, err
	}
	if at := versionOf(l); at.encode() == v {
		return at, nil
	}
	return version{}, lease.ErrStale
}

func stale(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

var errNoCRD = errors.New("the API server does not know IPLease: install weft's CRDs")

// clean keeps "not found" out of texts: a runtime takes it for success.
func clean(err error) error {
	if apierrors.IsNotFound(err) {
		return errNoCRD
	}
	return err
}
