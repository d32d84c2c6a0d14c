package serve

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/edition-push/edition/configs"
	"github.com/edition-push/edition/session"
)

// ownReloads are the reloads that both roles have.
func (n *Node) ownReloads(p Parts) []Reloader {
	list := []Reloader{
		func(f Fresh) (Change, error) {
			use, err := n.certs.reload(f.Node.TLS)
			return Changed("certificates", use, err)
		},
		func(f Fresh) (Change, error) {
			use, err := n.gateway.certs.reload(f.Node.Gateway.TLS)
			return Changed("certificates of the gateway", use, err)
		},
		func(f Fresh) (Change, error) {
			use, err := n.wakeup.certs.reload(f.Node.Wakeup.TLS)
			return Changed("certificates of the wake-up API", use, err)
		},
		n.reloadLevel,
	}
	if p.Gateway != nil {
		list = append(list, reloadList(named[configs.Caller]{
			key:  "gateway.callers",
			name: func(c configs.Caller) string { return c.Name },
			read: func(f Fresh) ([]configs.Caller, error) { return f.Node.Gateway.Callers, nil },
			use:  func(callers []configs.Caller) { p.Gateway.Reload(gatewayCallers(callers)) },
		}, n.cfg.Gateway.Callers))
	}
	return list
}

func (n *Node) reloadLevel(f Fresh) (Change, error) {
	to := levelOf(f.Node.Log)
	if n.level == nil || n.level.Level() == to {
		return Change{}, nil
	}
	return Change{What: []string{"log.level"}, Use: func() { n.level.Set(to) }}, nil
}

// ReloadRelays has sessions know at each reload who may connect as a relay. now
// is who may at the start, read returns who may then.
func ReloadRelays(sessions *session.Server, now []configs.Peer, read func(configs.Node) ([]configs.Peer, error)) Reloader {
	return reloadList(named[configs.Peer]{
		key:  "relays",
		name: func(p configs.Peer) string { return p.Name },
		read: func(f Fresh) ([]configs.Peer, error) { return read(f.Node) },
		use:  func(relays []configs.Peer) { sessions.Reload(sessionRelays(relays)) },
	}, now)
}

// named is a list of parties that have names, which is taken up as a whole.
type named[T any] struct {
	key  string
	name func(T) string
	read func(Fresh) ([]T, error)
	use  func([]T)
}

// reloadList reloads a list; now is the one in force.
func reloadList[T any](l named[T], now []T) Reloader {
	return func(f Fresh) (Change, error) {
		list, err := l.read(f)
		if err != nil || reflect.DeepEqual(now, list) {
			return Change{}, err
		}
		return Change{What: l.changes(now, list), Use: func() {
			l.use(list)
			now = list
		}}, nil
	}
}

// changes says who differs between two lists, and never in what: that may be a
// secret.
func (l named[T]) changes(was, is []T) (changes []string) {
	find := func(list []T, name string) int {
		return slices.IndexFunc(list, func(t T) bool { return l.name(t) == name })
	}
	for _, t := range is {
		i := find(was, l.name(t))
		switch {
		case i < 0:
			changes = append(changes, fmt.Sprintf("%s: %s added", l.key, l.name(t)))
		case !reflect.DeepEqual(was[i], t):
			changes = append(changes, fmt.Sprintf("%s: %s", l.key, l.name(t)))
		}
	}
	for _, t := range was {
		if find(is, l.name(t)) < 0 {
			changes = append(changes, fmt.Sprintf("%s: %s removed", l.key, l.name(t)))
		}
	}
	if changes == nil {
		changes = []string{l.key + ": another order"}
	}
	return changes
}
