// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/rest"

	"github.com/weft-cni/weft/e2e/api"
	"github.com/weft-cni/weft/e2e/leasestore"
	"github.com/weft-cni/weft/libs/k8s/api/v1alpha1"
	"github.com/weft-cni/weft/libs/lease"
)

// rounds is how often each subject runs at each size, in turn with the other.
const rounds = 5

// size is how many nodes ask, and how often each.
type size struct {
	nodes, each int
	exact       bool // of a pool that has just as many addresses
}

// figures are what one subject took, over all rounds.
type figures struct {
	add, del []time.Duration
	wall     []time.Duration // of a round's ADDs
	requests leasestore.Requests
	adds     int
}

// subject is what is measured: add and del of pod j on node i.
type subject struct {
	add, del func(ctx context.Context, i, j int) error
}

// BenchmarkCluster prints the table.
func BenchmarkCluster(b *testing.B) {
	server := api.Start(b)
	describe(os.Stdout)
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(out, "nodes\twhat\tADD p50\tp90\tp99\tADD/s\trequests per ADD\tDEL p50\tp90\tp99\t")
	for _, s := range []size{{nodes: 1, each: 200}, {nodes: 10, each: 50}, {nodes: 100, each: 10}, {nodes: 100, each: 10, exact: true}} {
		bare, weft := &figures{requests: leasestore.Requests{}}, &figures{requests: leasestore.Requests{}}
		for range rounds {
			bare.round(b, server, s, newBare(b, server, s))
			subject, stop := newWeft(b, server, s)
			weft.round(b, server, s, subject)
			stop()
		}
		what := "weft"
		if s.exact {
			what = "weft, pool filled to the last"
		}
		bare.row(out, s, "bare create, delete")
		weft.row(out, s, what)
		_, _ = fmt.Fprintf(out, "\tratio\t%.2f\t%.2f\t%.2f\t%.2f\t\t%.2f\t%.2f\t%.2f\t\n",
			over(weft.add, bare.add, 50), over(weft.add, bare.add, 90), over(weft.add, bare.add, 99),
			weft.rate(s)/bare.rate(s),
			over(weft.del, bare.del, 50), over(weft.del, bare.del, 90), over(weft.del, bare.del, 99))
		b.Logf("%d nodes: requests of %d ADDs: %v", s.nodes, weft.adds, weft.requests)
	}
	_ = out.Flush()
	b.ReportMetric(0, "ns/op") // the table is the result
}

// newBare makes the same objects, each with one POST, over as many connections.
func newBare(b *testing.B, server *rest.Config, s size) subject {
	b.Helper()
	pool := leasestore.Unique("bare")
	clients := make([]*rest.RESTClient, s.nodes)
	for i := range clients {
		c := rest.CopyConfig(server)
		c.Dial = (&net.Dialer{}).DialContext
		clients[i] = leasestore.Client(b, c)
		if err := clients[i].Get().Resource("iphints").Param("limit", "1").Do(b.Context()).Error(); err != nil {
			b.Fatal(err)
		}
	}
	name := func(i, j int) string { return fmt.Sprintf("10.%d.%d.%d.%s", i, j/250, j%250, pool) }
	return subject{
		add: func(ctx context.Context, i, j int) error {
			l := &v1alpha1.IPLease{Spec: v1alpha1.IPLeaseSpec{
				Address: strings.TrimSuffix(name(i, j), "."+pool), Domain: pool, Pool: pool, Holder: v1alpha1.Holder{Kind: "Pod", Namespace: "shop", Name: "pod", UID: "uid"},
				Attachment: &v1alpha1.Attachment{
					PodNamespace: "shop", PodName: "pod", PodUID: "uid", Node: "node", Network: "lan", Interface: "net1",
					SandboxID: "c-pod", Netns: 4026532000, BootID: "boot",
				},
			}}
			l.Name = name(i, j)
			l.Labels = map[string]string{v1alpha1.PoolLabel: pool, v1alpha1.NodeLabel: "node"}
			return clients[i].Post().Resource("ipleases").Body(l).Do(ctx).Error()
		},
		del: func(ctx context.Context, i, j int) error {
			return clients[i].Delete().Resource("ipleases").Name(name(i, j)).Do(ctx).Error()
		},
	}
}

// newWeft is nodes with an engine each over a pool whose hint is published.
func newWeft(b *testing.B, server *rest.Config, s size) (subject, func()) {
	b.Helper()
	ranges := "10.0.0.1-10.0.255.254"
	if s.exact {
		n := s.nodes * s.each
		ranges = fmt.Sprintf("10.0.0.1-10.0.%d.%d", n/256, n%256)
	}
	pool := leasestore.NewPool(b, 0, []string{"10.0.0.0/16"}, ranges)
	nodes := leasestore.NewNodes(b, server, s.nodes)
	_, stop := leasestore.Publish(b, server, pool, leasestore.Names(nodes)...)
	pod := func(i, j int) string { return fmt.Sprintf("%s-%d-%d", pool.Name, i, j) }
	return subject{
		add: func(ctx context.Context, i, j int) error {
			_, err := nodes[i].Add(ctx, pod(i, j), []lease.Pool{pool}...)
			return err
		},
		del: func(ctx context.Context, i, j int) error { return nodes[i].Del(ctx, pod(i, j)) },
	}, stop
}

// round adds on all nodes at once, on each one after the other; then deletes.
func (f *figures) round(b *testing.B, server *rest.Config, s size, sub subject) {
	b.Helper()
	before := leasestore.CountRequests(b, server)
	began := time.Now()
	f.add = append(f.add, all(b, s, sub.add)...)
	f.wall = append(f.wall, time.Since(began))
	for what, n := range leasestore.CountRequests(b, server).Since(before) {
		f.requests[what] += n
	}
	f.adds += s.nodes * s.each
	f.del = append(f.del, all(b, s, sub.del)...)
}

func all(b *testing.B, s size, do func(ctx context.Context, i, j int) error) (took []time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range s.nodes {
		wg.Go(func() {
			for j := range s.each {
				began := time.Now()
				err := do(b.Context(), i, j)
				d := time.Since(began)
				mu.Lock()
				took = append(took, d)
				if err != nil {
					b.Errorf("node %d, pod %d: %v", i, j, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return took
}

func (f *figures) rate(s size) float64 {
	wall := slices.Sorted(slices.Values(f.wall))
	return float64(s.nodes*s.each) / wall[len(wall)/2].Seconds()
}

func (f *figures) row(w io.Writer, s size, what string) {
	_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%.0f\t%.2f\t%s\t%s\t%s\t\n", s.nodes, what,
		ms(at(f.add, 50)), ms(at(f.add, 90)), ms(at(f.add, 99)), f.rate(s),
		float64(f.requests.Sum())/float64(f.adds), ms(at(f.del, 50)), ms(at(f.del, 90)), ms(at(f.del, 99)))
}

func over(a, b []time.Duration, p int) float64 { return float64(at(a, p)) / float64(at(b, p)) }

// at returns the p-th percentile.
func at(d []time.Duration, p int) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)-1, len(s)*p/100)]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }

// describe prints what the figures depend on.
func describe(w io.Writer) {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Fprintf(w, "machine: %d processors for clients, API server and etcd together, Linux %s, load average %s\n",
		runtime.NumCPU(), strings.TrimSpace(string(kernel)), strings.Join(strings.Fields(string(load))[:3], " "))
	_, _ = fmt.Fprintf(w, "etcd without fsync; %d rounds of each in turn; percentiles over all, throughput of the median round\n\n", rounds)
}
