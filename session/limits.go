package session

import (
	"time"

	"github.com/edition-push/edition/wire"
)

// Limits bound what a peer can ask of a server. A zero field takes the value
// that is named beside it; where a limit can be switched off, a negative value
// does so.
type Limits struct {
	// Message is the greatest message or body of a device, in bytes: 64 KiB.
	Message int
	// RelayMessage is the same for an authenticated relay: 1 MiB.
	RelayMessage int
	// Agents is how many UAIDs one connection or poll of a device may hold: 10,000.
	Agents int
	// Rate is how many messages a second a device may send (100) after a
	// Burst (1,000). An ack that answers an UPDATE is not counted. Negative: off.
	Rate  float64
	Burst int
	// RegisterRate is how many registrations a second one address (IPv4, or
	// an IPv6 /64) may ask for (1,000) after a RegisterBurst (20,000).
	// Relays are not counted. Negative: off.
	RegisterRate  float64
	RegisterBurst int
	// Hello is how long a connection may stay without a hello: 10 s.
	Hello time.Duration
	// Ping is how long a connection may be silent before it is pinged: 60 s.
	// After 2.5 times as long it is closed.
	Ping time.Duration
	// IdleClose is how long a device that can be woken may be idle, pings
	// aside, before its connection is closed. 0, the default, is for ever.
	IdleClose time.Duration
	// AckTimeout is when an UPDATE that was not acknowledged is sent again
	// (30 s); it doubles each time up to AckTimeoutMax (10 min).
	AckTimeout    time.Duration
	AckTimeoutMax time.Duration
	// Write is how long a peer may leave its receive buffer full: 10 s.
	Write time.Duration
	// Window is how many UPDATEs to a relay may be in flight: 16.
	Window int
}

func (l Limits) withDefaults() Limits {
	orInt(&l.Message, wire.MaxMessage)
	orInt(&l.RelayMessage, 1<<20)
	orInt(&l.Agents, 10_000)
	orInt(&l.Burst, 1000)
	orInt(&l.RegisterBurst, 20_000)
	orInt(&l.Window, 16)
	if l.Rate == 0 {
		l.Rate = 100
	}
	if l.RegisterRate == 0 {
		l.RegisterRate = 1000
	}
	orDuration(&l.Hello, 10*time.Second)
	orDuration(&l.Ping, time.Minute)
	orDuration(&l.AckTimeout, 30*time.Second)
	orDuration(&l.AckTimeoutMax, 10*time.Minute)
	orDuration(&l.Write, 10*time.Second)
	return l
}

func orInt(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

func orDuration(v *time.Duration, d time.Duration) {
	if *v <= 0 {
		*v = d
	}
}

// dead is how long a connection may be silent at all.
func (l Limits) dead() time.Duration { return l.Ping * 5 / 2 }

// backoff is the ack timeout after a number of tries.
func (l Limits) backoff(tries uint8) time.Duration {
	d := l.AckTimeout
	for ; tries > 0 && d < l.AckTimeoutMax; tries-- {
		d *= 2
	}
	return min(d, l.AckTimeoutMax)
}
