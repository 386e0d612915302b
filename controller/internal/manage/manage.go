// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"

	"github.com/weft-cni/weft/controller/internal/cluster"
)

// LeaseName is the Lease by which replicas elect one of them.
const LeaseName = "weft-controller"

// Main is the process. It returns when the context ends, or with the error that
// ended it.
func Main(ctx context.Context, args []string, out io.Writer) error {
	c, err := Parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.Level}))
	klog.SetSlogLogger(log)
	server, err := serverOf(c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read how to reach the API server: %w", err)
	}
	cl, err := cluster.Connect(server)
	if err != nil {
		return err
	}
	r := &replica{config: c, cluster: cl, log: log}
	return r.run(ctx)
}

func serverOf(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// replica is one process.
type replica struct {
	config  Config
	cluster *cluster.Cluster
	log     *slog.Logger
	ready   atomic.Bool // stands by, or leads and has seen everything
}

var errLost = errors.New("this replica no longer leads: it could not renew its Lease in time")

// run takes part in the election until the context ends. The work ends before
// the leadership is given up, so that there are never two at work.
func (r *replica) run(ctx context.Context) error {
	watchdog := leaderelection.NewLeaderHealthzAdaptor(r.config.Election)
	stop, err := r.serve(watchdog.Check)
	if err != nil {
		return err
	}
	defer stop()
	candidacy, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	var (
		working sync.Mutex // held by the work
		failure error
	)
	lead := func(lead context.Context) {
		working.Lock()
		defer working.Unlock()
		lead, cancel := context.WithCancel(lead)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		if failure = r.lead(lead); failure != nil {
			resign()
		}
	}
	elector, err := r.elector(watchdog, lead)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() {
		working.Lock() // what begins after this ends at once
		defer working.Unlock()
		resign()
	})()
	r.ready.Store(true)
	r.log.Info("stands by", slog.String("identity", r.config.Identity))
	elector.Run(candidacy)
	working.Lock()
	defer working.Unlock()
	switch {
	case failure != nil:
		return failure
	case ctx.Err() == nil:
		return errLost
	}
	r.log.Info("ended as asked")
	return nil
}

func (r *replica) elector(watchdog *leaderelection.HealthzAdaptor, lead func(context.Context)) (*leaderelection.LeaderElector, error) {
	const renewals = 3 // of the time a Lease lasts
	return leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: r.config.Namespace, Name: LeaseName},
			Client:     r.cluster.Kube.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: r.config.Identity},
		},
		LeaseDuration:   r.config.Election,
		RenewDeadline:   r.config.Election * 2 / renewals,
		RetryPeriod:     min(r.config.Election/8, 2*time.Second),
		ReleaseOnCancel: true,
		Name:            LeaseName,
		WatchDog:        watchdog,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: lead,
			OnStoppedLeading: func() { r.log.Info("does not lead any more", slog.String("identity", r.config.Identity)) },
			OnNewLeader:      func(id string) { r.log.Info("leads", slog.String("leader", id)) },
		},
	})
}
