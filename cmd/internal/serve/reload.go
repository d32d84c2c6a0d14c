package serve

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/kickdrivers"
)

// Reload says how a role's configuration is read again while it runs.
type Reload struct {
	// Read reads it as strictly as at the start.
	Read func() (Fresh, error)
	// When asks for it, value by value: SIGHUP.
	When <-chan os.Signal
}

// Fresh is a configuration that was read again.
type Fresh struct {
	Node      configs.Node
	Upstreams []configs.Upstream // of a relay
	Changed   []string           // the keys that differ from those at the start
}

// Reloader is a part that takes up what has changed without losing what it
// holds. It reads its part of the configuration, and changes nothing yet.
type Reloader func(Fresh) (Change, error)

// Change is what has changed of a part; the zero Change is nothing.
type Change struct {
	What []string // what the log calls it
	Use  func()   // takes it up, and cannot fail
}

// Changed is a Change by one name; use is nil when there is none.
func Changed(what string, use func(), err error) (Change, error) {
	if use == nil || err != nil {
		return Change{}, err
	}
	return Change{What: []string{what}, Use: use}, nil
}

// OnHangup returns a Reload that reads by load at each SIGHUP, until stop is
// called: then the signal ends the process again. On systems that have no such
// signal nothing is reloaded.
func OnHangup[C configs.Server | configs.Relay](was C, load func() (C, error)) (r Reload, stop func()) {
	when := make(chan os.Signal, 1)
	signal.Notify(when, syscall.SIGHUP)
	read := func() (Fresh, error) {
		now, err := load()
		f := Fresh{Node: nodeOf(now), Changed: configs.Changed(was, now)}
		if r, ok := any(now).(configs.Relay); ok {
			f.Upstreams = r.Upstreams
		}
		return f, err
	}
	return Reload{When: when, Read: read}, func() { signal.Stop(when) }
}

func nodeOf[C configs.Server | configs.Relay](cfg C) configs.Node {
	if s, ok := any(cfg).(configs.Server); ok {
		return s.Node
	}
	return any(cfg).(configs.Relay).Node
}

// reloadOn reads the configuration again whenever it is asked to, until ctx
// ends. What is wrong with it is logged and changes nothing.
func (n *Node) reloadOn(ctx context.Context, p Parts) error {
	entries, err := kickdrivers.Decode(n.cfg.Kicks)
	if err != nil {
		return err
	}
	p.Reloads = append(n.ownReloads(p), p.Reloads...)
	reloads := promauto.With(n.Metrics).NewCounterVec(prometheus.CounterOpts{
		Name: "edition_serve_reloads_total", Help: "Times that the configuration was read again, by result.",
	}, []string{"result"})
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.reload.When:
		}
		result := "done"
		if entries, err = n.reloadAll(p, entries); err != nil {
			n.Log.Error("cannot reload: nothing has changed", "err", err)
			result = "refused"
		}
		reloads.WithLabelValues(result).Inc()
	}
}

// reloadAll takes up all that has changed, of the parts in p.Reloads and of the
// drivers, or nothing. It returns the drivers that are in force then.
func (n *Node) reloadAll(p Parts, had []kickdrivers.Entry) ([]kickdrivers.Entry, error) {
	fresh, err := n.reload.Read()
	if err != nil {
		return had, err
	}
	entries, err := kickdrivers.Decode(fresh.Node.Kicks)
	if err != nil {
		return had, err
	}
	var uses []func()
	var changed []string
	for _, read := range p.Reloads {
		c, err := read(fresh)
		if err != nil {
			return had, err
		}
		if c.Use != nil {
			uses, changed = append(uses, c.Use), append(changed, c.What...)
		}
	}
	// The drivers come last: they are the ones that can still fail.
	if err := p.Kicks.Reload(entries); err != nil {
		return had, err
	}
	for _, use := range uses {
		use()
	}
	changed = append(changed, changedDrivers(had, entries)...)
	n.Log.Info("reloaded", "changed", strings.Join(changed, ", "))
	if rest := slices.DeleteFunc(fresh.Changed, n.takesUp(fresh.Node)); len(rest) > 0 {
		n.Log.Warn("these keys count after a restart", "keys", strings.Join(rest, ", "))
	}
	return entries, nil
}

// takesUp says which keys count without a restart. Certificates do, where there
// were some before.
func (n *Node) takesUp(fresh configs.Node) func(key string) bool {
	prefixes := []string{"kicks", "log.level", "relays", "gateway.callers", configs.UpstreamTokens}
	for prefix, held := range map[string]bool{
		"tls.":         n.certs != nil && fresh.TLS.CertFile != "",
		"gateway.tls.": n.gateway.certs != nil && fresh.Gateway.TLS.CertFile != "",
		"wakeup.tls.":  n.wakeup.certs != nil && fresh.Wakeup.TLS.CertFile != "",
	} {
		if held {
			prefixes = append(prefixes, prefix)
		}
	}
	return func(key string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) })
	}
}

// changedDrivers says what differs between two lists of drivers.
func changedDrivers(was, is []kickdrivers.Entry) (changes []string) {
	for _, e := range is {
		i := slices.IndexFunc(was, func(w kickdrivers.Entry) bool { return w.Name == e.Name })
		switch {
		case i < 0:
			changes = append(changes, fmt.Sprintf("kicks: %s added", e.Name))
		case was[i].Fingerprint != e.Fingerprint:
			changes = append(changes, fmt.Sprintf("kicks: %s opened anew", e.Name))
		case was[i].Policy != e.Policy:
			changes = append(changes, fmt.Sprintf("kicks: %s", e.Name))
		}
	}
	for _, w := range was {
		if !slices.ContainsFunc(is, func(e kickdrivers.Entry) bool { return w.Name == e.Name }) {
			changes = append(changes, fmt.Sprintf("kicks: %s removed", w.Name))
		}
	}
	return changes
}
