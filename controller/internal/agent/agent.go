// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/weft-cni/weft/libs/agentapi"
	"github.com/weft-cni/weft/libs/agentapi/debts"
	"github.com/weft-cni/weft/libs/k8s/leasestore"
	"github.com/weft-cni/weft/libs/lease"
)

const (
	grace      = 5 * time.Second // for requests under way when the agent ends
	reloadEach = 10 * time.Minute
	settleEach = 5 * time.Second
	debtEach   = 2 * time.Second
	// memoryGoal makes the collector work harder before the agent gets large.
	memoryGoal = 48 << 20
)

// Main is the whole of the command. It returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "weft-agent: %v\n", err)
		return 2
	}
	if c.version {
		_, _ = fmt.Fprintln(stdout, "weft-agent", version())
		return 0
	}
	debug.SetMemoryLimit(memoryGoal)
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: c.level}))
	klog.SetSlogLogger(log)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, c, log); err != nil {
		log.Error("weft-agent ends", slog.Any("err", err))
		return 1
	}
	return 0
}

func version() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}

func serverConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// run serves until ctx ends.
func run(ctx context.Context, c config, log *slog.Logger) error {
	server, err := serverConfig(c.kubeconfig)
	if err != nil {
		return fmt.Errorf("read how to reach the API server: %w", err)
	}
	a, err := newAgent(c, server, log)
	if err != nil {
		return err
	}
	// From here on, also what is under way when ctx ends is done in good order.
	l, err := agentapi.Listen(ctx, c.socket)
	if err != nil {
		return err
	}
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	for _, work := range a.work() {
		wg.Go(func() { work(background) })
	}
	stopPages, err := a.servePages(ctx, &wg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer stopPages()
	log.Info("weft-agent serves", slog.String("node", c.node), slog.String("socket", c.socket))
	defer log.Info("weft-agent ends")
	return (&agentapi.Server{Handler: a, Log: log, Grace: grace}).Serve(ctx, l)
}

// agent is one node's agent.
type agent struct {
	config  config
	log     *slog.Logger
	now     func() time.Time
	cluster *cluster
	pods    *pods
	pools   *pools
	near    *near
	events  *events
	store   *leasestore.Store
	engine  *lease.Engine
	graves  *graveyard
	payer   *payer
	sweeper *sweeper
	locks   *locks
}

var _ agentapi.Handler = (*agent)(nil)

// records is the store with what the agent itself remembers.
type records struct {
	*leasestore.Store
	*graveyard
}

var (
	_ lease.Store     = records{}
	_ lease.Chooser   = records{}
	_ lease.Graveyard = records{}
)

func newAgent(c config, server *rest.Config, log *slog.Logger) (*agent, error) {
	a := &agent{config: c, log: log, now: time.Now, locks: newLocks()}
	var err error
	if a.cluster, err = newCluster(server, a.now); err != nil {
		return nil, err
	}
	if a.store, err = leasestore.New(leasestore.Config{Server: a.cluster.config, Node: c.node}); err != nil {
		return nil, err
	}
	if a.pods, err = newPods(a.cluster, c.node); err != nil {
		return nil, err
	}
	if a.pools, err = newPools(a.cluster, log); err != nil {
		return nil, err
	}
	a.near = newNear(a.cluster, a.now)
	a.events = newEvents(a.cluster, c.node, a.now, log)
	boot := bootID(c.proc)
	owed := debts.Open(c.stateDir)
	a.graves = newGraveyard(owed, boot, a.now)
	a.engine = &lease.Engine{Store: records{a.store, a.graves}, Now: a.now, BootID: boot, Node: c.node}
	a.payer = &payer{debts: owed, bootID: boot, now: a.now, log: log, release: a.releaseNow, kick: make(chan struct{}, 1)}
	a.sweeper = &sweeper{
		interval: c.sweep, bootID: boot, now: a.now, log: log, seen: map[sight]time.Time{},
		leases: func(ctx context.Context) ([]lease.Entry, error) {
			return a.engine.List(ctx, lease.Filter{Node: c.node})
		},
		alive: func() (namespaces, error) { return liveNamespaces(c.proc) },
		free: func(ctx context.Context, e lease.Entry) error {
			return a.store.Release(ctx, e.Key, e.Version, e.Record.Rest)
		},
	}
	if dropped, err := owed.DropDamaged(); err != nil || len(dropped) > 0 {
		log.Warn("debts that cannot be read were dropped; the sweep frees what they were for", slog.Any("files", dropped), slog.Any("err", err))
	}
	return a, nil
}

// work is what goes on beside the socket.
func (a *agent) work() []func(context.Context) {
	return []func(context.Context){
		a.pods.run,
		a.pools.run,
		a.cluster.listen,
		a.payer.run,
		func(ctx context.Context) {
			every(ctx, a.sweeper.interval/3, func() {
				if err := a.sweeper.round(ctx); err != nil && ctx.Err() == nil {
					a.log.Warn("sweep", slog.Any("err", err))
				}
			})
		},
		func(ctx context.Context) {
			every(ctx, settleEach, func() {
				if left, err := a.store.Settle(ctx); err != nil && ctx.Err() == nil {
					a.log.Warn("claims of unknown outcome", slog.Int("left", left), slog.Any("err", err))
				}
			})
		},
		func(ctx context.Context) {
			every(ctx, reloadEach, func() {
				if err := a.store.Load(ctx); err != nil && ctx.Err() == nil {
					a.log.Warn("read the node's leases again", slog.Any("err", err))
				}
			})
		},
	}
}

// every calls f now and then each d, until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		f()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
