package udp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"

	"golang.org/x/net/ipv4"
)

// conn is an unconnected socket of one family: what one target answers does
// not disturb the others.
type conn struct {
	*net.UDPConn
	batch batchWriter // nil where the system has no call for many datagrams
}

// batchWriter is what ipv4.PacketConn and ipv6.PacketConn have in common.
type batchWriter interface {
	WriteBatch(ms []ipv4.Message, flags int) (int, error)
}

// maxSockets bounds the sockets of one family.
const maxSockets = 8

// sockets are those of one family. The system and Go let one goroutine at a
// time send on a socket, so there is one for each processor; a Kick has one
// for itself while it sends.
type sockets chan *conn

// listen opens the sockets of a family. A local address that is invalid leaves
// the choice to the system.
func listen(network string, local netip.Addr) (sockets, error) {
	all := make(sockets, min(runtime.GOMAXPROCS(0), maxSockets))
	for range cap(all) {
		c, err := open(network, local)
		if err != nil {
			return nil, errors.Join(err, all.close())
		}
		all <- c
	}
	return all, nil
}

// close closes the sockets, which nobody has taken. They can still be taken:
// a Kick then fails.
func (s sockets) close() error {
	var errs []error
	for range len(s) {
		c := <-s
		errs = append(errs, c.Close())
		s <- c
	}
	return errors.Join(errs...)
}

func open(network string, local netip.Addr) (*conn, error) {
	host := ""
	if local.IsValid() {
		host = local.String()
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(context.Background(), network, net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	c := &conn{UDPConn: pc.(*net.UDPConn)}
	if err := c.prepare(network); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// flight is the scratch space of one call of Kick.
type flight struct {
	jobs []job

	n     int   // datagrams
	index []int // of their targets
	to    []netip.AddrPort
	text  []byte // their payloads, one behind the other

	ms    []ipv4.Message
	addrs []net.UDPAddr
	ips   [][16]byte
	bufs  [][1][]byte
}

// reset makes room for as many datagrams as there are jobs.
func (f *flight) reset(maxPayload int) {
	f.n, f.index, f.to, f.text = 0, f.index[:0], f.to[:0], f.text[:0]
	if n := len(f.jobs); n > len(f.ms) {
		f.text = make([]byte, 0, n*maxPayload)
		f.ms, f.addrs, f.ips, f.bufs = make([]ipv4.Message, n), make([]net.UDPAddr, n), make([][16]byte, n), make([][1][]byte, n)
		for i := range f.ms {
			f.ms[i].Addr, f.ms[i].Buffers = &f.addrs[i], f.bufs[i][:]
		}
	}
}

// add prepares one datagram.
func (f *flight) add(index int, to netip.AddrPort, p *payload, code string) {
	i, start := f.n, len(f.text)
	f.n++
	f.index, f.to = append(f.index, index), append(f.to, to)
	f.text = p.appendTo(f.text, to, code)
	f.bufs[i][0] = f.text[start:]
	if ip := to.Addr(); ip.Is4() {
		a := ip.As4()
		f.addrs[i].IP = append(f.ips[i][:0], a[:]...)
	} else {
		f.ips[i] = ip.As16()
		f.addrs[i].IP = f.ips[i][:]
	}
	f.addrs[i].Port = int(to.Port())
}

// send writes the datagrams. One that cannot be sent does not stop the others.
func (f *flight) send(s sockets, errs []error) {
	c := <-s
	defer func() { s <- c }()
	if c.batch == nil {
		for i, to := range f.to {
			if _, err := c.WriteToUDPAddrPort(f.bufs[i][0], to); err != nil {
				errs[f.index[i]] = classify(err)
			}
		}
		return
	}
	for i := 0; i < f.n; {
		sent, err := c.batch.WriteBatch(f.ms[i:f.n], 0)
		if err == nil && sent == 0 {
			err = io.ErrNoProgress
		}
		if i += max(0, sent); err != nil && i < f.n {
			errs[f.index[i]] = classify(err)
			i++
		}
	}
}
