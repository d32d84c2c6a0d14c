// Package udp is the kick driver that sends one small datagram, or opens one
// TCP connection, to the address and port that a device has named.
//
// It promises to send only into the networks that the operator has listed, to
// single hosts, and nothing but the operator's payload and a code, which are
// never larger than the request that caused them. It does not read answers and does not know whether a datagram
// arrived. README.md has the configuration.
package udp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
)

// Driver sends datagrams and opens TCP connections. Make one with New.
type Driver struct {
	// Fixed after construction.
	guard   guard
	payload payload
	sockets [2]sockets // IPv4, IPv6; nil when that family is not used
	bind    [2]netip.Addr
	timeout time.Duration
	tcp     chan struct{} // a place for each TCP kick under way
	flights sync.Pool     // of *flight
}

// New opens the sockets that a configuration needs. Its faults are
// edition.ErrConfig, a local address that cannot be used edition.ErrListen.
func New(c Config, env driver.Env) (*Driver, error) {
	g, p, bind, faults := c.compile()
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", edition.ErrConfig, errors.Join(faults...))
	}
	d := &Driver{
		guard: g, payload: p, bind: bind, timeout: c.TCPTimeout,
		tcp: make(chan struct{}, c.TCPParallel),
	}
	d.flights.New = func() any { return new(flight) }
	for family, name := range [...]string{"udp4", "udp6"} {
		if !g.uses(family) {
			continue
		}
		var err error
		if d.sockets[family], err = listen(name, bind[family]); err == nil {
			continue
		}
		if bind[family].IsValid() || family == 0 {
			d.Close() //nolint:errcheck // the first error is the one to tell
			return nil, fmt.Errorf("%w: %w", edition.ErrListen, err)
		}
		env.Logger().Warn("no IPv6 here: its targets cannot be kicked", "err", err)
	}
	return d, nil
}

// uses reports whether any target may be of the family, 0 for IPv4.
func (g *guard) uses(family int) bool {
	for _, n := range g.networks {
		for _, s := range n.subnets {
			if familyOf(s.Addr()) == family {
				return true
			}
		}
	}
	return false
}

func familyOf(ip netip.Addr) int {
	if ip.Is4() {
		return 0
	}
	return 1
}

// Check accepts {"ip":"10.1.2.3","port":4000}, with "proto":"tcp" for a
// connection instead of a datagram, and the name of a network as "netid" or
// as "mcc" and "mnc". The target must lie in that network, or in any if none
// is named.
func (d *Driver) Check(raw json.RawMessage, from netip.Addr, size int) (json.RawMessage, error) {
	t, err := parseAsked(raw, from)
	if err != nil {
		return nil, err
	}
	if err := d.guard.check(&t); err != nil {
		return nil, err
	}
	if n := len(d.payload.appendTo(nil, netip.AddrPortFrom(t.ip, t.port), "")) + maxCode; n > size {
		return nil, fmt.Errorf("%w: a kick of %d bytes would be larger than the request of %d", edition.ErrForbidden, n, size)
	}
	return t.stored()
}

// Aim is the address and the port: by UDP and by TCP, and under whatever
// network's name, one target is meant.
func (d *Driver) Aim(raw json.RawMessage) string {
	t, err := parseStored(raw)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(t.ip, t.port).String()
}

// Show returns a line such as "udp 10.1.2.3:4000: NOTIFY 10.1.2.3:4000".
func (d *Driver) Show(k driver.Kick) (string, error) {
	t, err := d.read(k.Target)
	if err != nil {
		return "", err
	}
	proto, to := "udp", netip.AddrPortFrom(t.ip, t.port)
	if t.tcp {
		proto = "tcp"
	}
	return fmt.Sprintf("%s %s: %s", proto, to, d.payload.appendTo(nil, to, k.Confirm)), nil
}

// read returns a stored target that the configuration still allows.
func (d *Driver) read(raw json.RawMessage) (target, error) {
	t, err := parseStored(raw)
	if err != nil {
		return t, fmt.Errorf("%w: the stored target cannot be read: %w", edition.ErrGone, err)
	}
	return t, d.guard.check(&t)
}

// job is one kick under way.
type job struct {
	n    int // index of its target
	to   netip.AddrPort
	tcp  bool
	code string
}

// Kick sends one kick to each target. Datagrams go first, in one go.
func (d *Driver) Kick(ctx context.Context, kicks []driver.Kick, errs []error) {
	f := d.flights.Get().(*flight)
	f.jobs = f.jobs[:0]
	for n, k := range kicks {
		t, err := d.read(k.Target)
		if errs[n] = err; err == nil {
			f.jobs = append(f.jobs, job{n: n, to: netip.AddrPortFrom(t.ip, t.port), tcp: t.tcp, code: k.Confirm})
		}
	}
	d.sendDatagrams(f, errs)
	d.dialAll(ctx, f.jobs, errs)
	d.flights.Put(f)
}

// sendDatagrams sends what goes by UDP, a family after the other.
func (d *Driver) sendDatagrams(f *flight, errs []error) {
	for family, s := range d.sockets {
		f.reset(d.payload.max + maxCode)
		for _, j := range f.jobs {
			if !j.tcp && errs[j.n] == nil && familyOf(j.to.Addr()) == family {
				f.add(j.n, j.to, &d.payload, j.code)
			}
		}
		switch {
		case f.n == 0:
		case s == nil:
			for _, n := range f.index[:f.n] {
				errs[n] = errors.New("no socket for this kind of address")
			}
		default:
			f.send(s, errs)
		}
	}
}

// dialAll makes the TCP kicks, as many at once as there are places.
func (d *Driver) dialAll(ctx context.Context, jobs []job, errs []error) {
	var wg sync.WaitGroup
	for _, j := range jobs {
		if !j.tcp || errs[j.n] != nil {
			continue
		}
		select {
		case d.tcp <- struct{}{}:
		case <-ctx.Done():
			errs[j.n] = context.Cause(ctx)
			continue
		}
		wg.Go(func() {
			errs[j.n] = d.dial(ctx, j)
			<-d.tcp
		})
	}
	wg.Wait()
}

// dial opens a connection, writes the payload and closes.
func (d *Driver) dial(ctx context.Context, j job) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	var dialer net.Dialer
	if local := d.bind[familyOf(j.to.Addr())]; local.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	c, err := dialer.DialContext(ctx, "tcp", j.to.String())
	if err != nil {
		return classify(err)
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err = c.Write(d.payload.appendTo(nil, j.to, j.code))
	return err
}

// classify tells what fails on this machine from what fails at a target.
func classify(err error) error {
	for _, local := range []error{syscall.ENOBUFS, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, net.ErrClosed} {
		if errors.Is(err, local) {
			return fmt.Errorf("%w: %w", edition.ErrUnavailable, err)
		}
	}
	return err
}

// Close closes the sockets.
func (d *Driver) Close() error {
	return errors.Join(d.sockets[0].close(), d.sockets[1].close())
}
