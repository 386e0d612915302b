// SPDX-FileCopyrightText: The weft Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// An event says the same of a pod no more often than this.
	eventEach = 5 * time.Minute
	// eventMost is how many the agent remembers to have sent.
	eventMost = 512
	// noteMost is what the API takes, in bytes.
	noteMost = 1024
)

// events tells pods why they get no address: the short form is in the error
// that kubelet shows, the whole table is here.
type events struct {
	cluster *cluster
	node    string
	now     func() time.Time
	log     *slog.Logger
	slots   chan struct{} // a few at a time; more are dropped

	mu   sync.Mutex
	sent map[string]time.Time
}

func newEvents(c *cluster, node string, now func() time.Time, log *slog.Logger) *events {
	return &events{cluster: c, node: node, now: now, log: log, slots: make(chan struct{}, 4), sent: map[string]time.Time{}}
}

// refused sends an event beside the answer.
func (e *events) refused(pod *metav1.PartialObjectMetadata, nic, short, table string) {
	if !e.fresh(string(pod.UID) + "/" + nic + "/" + short) {
		return
	}
	note := short
	if table != "" {
		note += "\n" + table
	}
	body := e.event(pod, cut(note))
	select {
	case e.slots <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-e.slots }()
		ctx, cancel := context.WithTimeout(context.Background(), askLimit)
		defer cancel()
		err := e.cluster.weft.Post().AbsPath("/apis/events.k8s.io/v1/namespaces", pod.Namespace, "events").
			SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
		if err != nil {
			e.log.Warn("an event cannot be sent", slog.String("pod", pod.Namespace+"/"+pod.Name), slog.Any("err", err))
		}
	}()
}

func (e *events) fresh(what string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	if at, ok := e.sent[what]; ok && now.Sub(at) < eventEach {
		return false
	}
	for old, at := range e.sent {
		if len(e.sent) >= eventMost || now.Sub(at) >= eventEach {
			delete(e.sent, old)
		}
	}
	e.sent[what] = now
	return true
}

func (e *events) event(pod *metav1.PartialObjectMetadata, note string) []byte {
	b, _ := json.Marshal(map[string]any{ //nolint:errchkjson // maps and strings
		"apiVersion": "events.k8s.io/v1", "kind": "Event",
		"metadata":            map[string]any{"generateName": "weft-", "namespace": pod.Namespace},
		"eventTime":           metav1.NewMicroTime(e.now()),
		"reportingController": "weft.dev/agent", "reportingInstance": cutTo(e.node, 128),
		"action": "Allocate", "reason": "NoAddress", "type": "Warning", "note": note,
		"regarding": map[string]any{"apiVersion": "v1", "kind": "Pod", "namespace": pod.Namespace, "name": pod.Name, "uid": pod.UID},
	})
	return b
}

func cut(note string) string { return cutTo(note, noteMost) }

func cutTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for s = s[:most]; !utf8.ValidString(s); {
		s = s[:len(s)-1]
	}
	return s
}
