// Package peers gives the simulators of what kick drivers speak to one face: a
// push service, a broker, an SMSC, a carrier's platform, a listener for
// datagrams.
//
// It promises an entry of kicks and a target that work with the peer as they
// stand, and that the peer speaks its protocol over a real socket. It holds no
// protocol itself: that is in the simulators, beside their drivers.
package peers

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/edition-push/edition"
)

// Options of a peer.
type Options struct {
	Addr string // to listen on; empty: 127.0.0.1:0
	// Dir is the folder for the files that the entry names: keys, passwords,
	// certificates. It is made when absent.
	Dir string
	// Answer is one of the kind's words, to provoke an error; empty: accept.
	Answer string
	Log    *slog.Logger // nil: silent
	// OnPush is called with each push that was accepted, from many goroutines.
	OnPush func(Push)
}

// Push is what a peer took.
type Push struct {
	To   string // the device, as its target names it
	Text string // the rest, in one line
}

// Peer is running. Close it.
type Peer struct {
	URL    string
	Entry  map[string]any // of kicks, which leads here
	Target map[string]any // of a device here, as it would register it
	Close  func() error
}

// Kind is one way to be a peer.
type Kind struct {
	Name   string // of the command
	Driver string // that speaks to it
	What   string // in a few words
	// Answers are the words for Options.Answer, with what they do.
	Answers map[string]string
	start   func(Options) (*Peer, error)
}

// Kinds are all peers.
func Kinds() []Kind {
	return []Kind{apnsKind(), fcmKind(), webpushKind(), webhookKind(), mqttKind(), smppKind(), wakeupKind(), udpKind()}
}

// Find returns the kind of that name, or that speaks to a driver of that name.
func Find(name string) (Kind, bool) {
	all := Kinds()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name || k.Driver == name })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

// Start starts a peer. A word for Answer that the kind has not is
// edition.ErrUsage, an address that cannot be listened on edition.ErrListen.
func (k Kind) Start(o Options) (*Peer, error) {
	if _, known := k.Answers[o.Answer]; o.Answer != "" && !known {
		words := strings.Join(slices.Sorted(maps.Keys(k.Answers)), ", ")
		return nil, fmt.Errorf("%w: answer %q is not one of %s", edition.ErrUsage, o.Answer, words)
	}
	if o.OnPush == nil {
		o.OnPush = func(Push) {}
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	p, err := k.start(o)
	if err != nil {
		return nil, err
	}
	p.Entry["name"], p.Entry["driver"] = k.Driver, k.Driver
	return p, nil
}

// server is what the simulators have in common.
type server interface {
	URL() string
	Close() error
	WriteFiles(dir string) error
}

// opened makes a peer of a simulator that listens, and writes its files.
func opened(s server, err error, dir string, entry, target func() (map[string]any, error)) (*Peer, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w", edition.ErrListen, err)
	}
	p := &Peer{URL: s.URL(), Close: s.Close}
	if err = s.WriteFiles(dir); err == nil {
		p.Entry, err = entry()
	}
	if err == nil {
		p.Target, err = target()
	}
	if err != nil {
		s.Close() //nolint:errcheck // the first error says more
		return nil, err
	}
	return p, nil
}

func always(m map[string]any) func() (map[string]any, error) {
	return func() (map[string]any, error) { return m, nil }
}
