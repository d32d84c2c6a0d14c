package configs

import (
	"time"

	"github.com/edition-push/edition/kickdrivers"
	"github.com/edition-push/edition/wire"
)

// DefaultServer returns what `edition server` runs with when nothing is said.
func DefaultServer() Server {
	return Server{
		Node:    defaultNode("127.0.0.1:8080", "127.0.0.1:9080"),
		Publish: Publish{Waiting: 10_000, Wait: 30 * time.Second, EndpointBurst: 10, Batches: 64, Receipts: 1000, Idle: time.Minute},
	}
}

// DefaultRelay returns what `edition relay` runs with when nothing but an
// upstream is said.
func DefaultRelay() Relay {
	return Relay{
		Node:          defaultNode("127.0.0.1:8081", "127.0.0.1:9081"),
		Name:          "relay",
		Upstreams:     []Upstream{},
		UpstreamKicks: defaultRights(),
	}
}

// DefaultUpstream returns what an entry of upstreams is when it names only a
// URL.
func DefaultUpstream() Upstream {
	return Upstream{Name: "upstream", Mode: "auto", Wait: 30 * time.Second}
}

func defaultNode(listen, admin string) Node {
	return Node{
		Listen: listen,
		Admin:  admin,
		Data:   "data",
		Relays: []Peer{},
		Store: Store{
			Sync:            "always",
			Interval:        time.Second,
			TTL:             72 * time.Hour,
			RegistrationTTL: 90 * 24 * time.Hour,
			SweepEvery:      10 * time.Minute,
			MemoryRows:      1 << 19,
			JournalBytes:    128 << 20,
			DeviceMessages:  1000,
			DeviceBytes:     2 << 20,
			Messages:        1_000_000,
			MessageBytes:    1 << 30,
		},
		Hub: Hub{Grace: 25 * time.Millisecond},
		Session: Session{
			HelloTimeout:  10 * time.Second,
			Ping:          time.Minute,
			AckTimeout:    30 * time.Second,
			AckTimeoutMax: 10 * time.Minute,
			WriteTimeout:  10 * time.Second,
			UAIDs:         10_000,
			MessageRate:   100,
			MessageBurst:  1000,
			RegisterRate:  1000,
			RegisterBurst: 20_000,
			RelayWindow:   16,
		},
		Dialects: Dialects{PingMin: 20 * time.Second, MaxChannels: 1000, Versions: VersionsGreatest, MsgLimit: 500},
		Kicks:    kickdrivers.Default(),
		Gateway:  defaultGateway(),
		Wakeup:   defaultWakeup(),
		Drain:    10 * time.Second,
		Log:      Log{Level: "info", Format: "text"},
	}
}

// custodies are the words a custody key takes; empty leaves it to the other side.
var custodies = []string{"", wire.CustodyDevice, wire.CustodyRelay}
