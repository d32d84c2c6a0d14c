// Package mqttsim is an MQTT broker for desks and tests: a real one, embedded,
// that tells what is published and can be made to refuse.
//
// It promises to speak MQTT 5 on a real socket, to subscribers too. It keeps
// nothing and is no broker for production.
package mqttsim

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/edition-push/edition/kickdrivers/simtls"
)

// Kick is one message that was published.
type Kick struct {
	Topic    string
	Payload  string
	QoS      byte
	Retain   bool
	Expiry   uint32 // seconds; 0: none
	ClientID string // who published it
}

// Options of a broker. The zero Options are usable.
type Options struct {
	Addr string       // to listen on; default 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// OnKick is called with each message that is taken, from many goroutines.
	OnKick func(Kick)
	// Answer, if not nil, says the reason code of a message's PUBACK (MQTT 5,
	// section 3.4.2.1); 0 takes it. At QoS 0 nobody hears of a refusal.
	Answer func(Kick) byte
	// Username and Password, if given, are demanded of every client.
	Username, Password string
	// TLS makes the broker speak TLS, ClientCert demands a certificate of the
	// broker's own authority as well; see WriteFiles.
	TLS, ClientCert bool
	// ReceiveMaximum, MaxQoS and MaxPacket are told to clients; 0 is 1024, 1
	// and no limit. MaxQoS is a pointer for its 0 means something.
	ReceiveMaximum uint16
	MaxQoS         *byte
	MaxPacket      uint32
}

// Server is a broker that runs. Make one with Start.
type Server struct {
	o      Options
	listen net.Listener
	broker *broker.Server
	ca     *simtls.Authority // nil without TLS
	conns  *conns
	taken  atomic.Int64
}

// Start opens a broker.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, conns: &conns{open: make(map[net.Conn]struct{})}}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if o.TLS || o.ClientCert {
		if l, err = s.secure(l); err != nil {
			return nil, err
		}
	}
	limits := broker.NewDefaultServerCapabilities()
	limits.MaximumQos = 1
	if o.MaxQoS != nil {
		limits.MaximumQos = *o.MaxQoS
	}
	if o.ReceiveMaximum > 0 {
		limits.ReceiveMaximum = o.ReceiveMaximum
	}
	limits.MaximumPacketSize = o.MaxPacket
	s.broker = broker.New(&broker.Options{Capabilities: limits, Logger: slog.New(slog.DiscardHandler)})
	if err := s.broker.AddHook(&hook{server: s}, nil); err != nil {
		l.Close()
		return nil, err
	}
	if err := s.broker.Serve(); err != nil {
		l.Close()
		return nil, err
	}
	s.listen = l
	s.conns.accept(l, func(c net.Conn) {
		err := s.broker.EstablishConnection("sim", c)
		o.Log.Debug("a connection has ended", "remote", c.RemoteAddr().String(), "err", err)
	})
	return s, nil
}

func (s *Server) secure(l net.Listener) (net.Listener, error) {
	var err error
	if s.ca, err = simtls.New("edition mqttsim"); err != nil {
		l.Close()
		return nil, err
	}
	cert, err := s.ca.Server()
	if err != nil {
		l.Close()
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if s.o.ClientCert {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, s.ca.Pool()
	}
	return tls.NewListener(l, conf), nil
}

// Addr is where the broker listens.
func (s *Server) Addr() string { return s.listen.Addr().String() }

// URL is what a driver's url is set to.
func (s *Server) URL() string {
	if s.ca != nil {
		return "mqtts://" + s.Addr()
	}
	return "mqtt://" + s.Addr()
}

// Taken is how many messages were taken.
func (s *Server) Taken() int { return int(s.taken.Load()) }

// WriteFiles writes into a folder what a client of a broker with TLS needs:
// ca.pem, client.pem and client-key.pem.
func (s *Server) WriteFiles(dir string) error {
	if s.ca == nil {
		return fmt.Errorf("this broker does not speak TLS")
	}
	return s.ca.WriteFiles(dir, "edition")
}

// Close ends the broker and waits for its connections to end.
func (s *Server) Close() error {
	s.conns.end(s.listen)
	return s.broker.Close()
}

// Drop closes the connections of all clients, without a word.
func (s *Server) Drop() { s.conns.drop() }

// hook is how the broker asks and tells.
type hook struct {
	broker.HookBase
	server *Server
}

// ID implements broker.Hook.
func (h *hook) ID() string { return "mqttsim" }

// Provides implements broker.Hook.
func (h *hook) Provides(b byte) bool {
	return b == broker.OnConnectAuthenticate || b == broker.OnACLCheck || b == broker.OnPublish || b == broker.OnPacketEncode
}

// OnConnectAuthenticate implements broker.Hook.
func (h *hook) OnConnectAuthenticate(_ *broker.Client, pk packets.Packet) bool {
	o := &h.server.o
	return o.Username == "" && o.Password == "" ||
		subtle.ConstantTimeCompare(pk.Connect.Username, []byte(o.Username)) == 1 &&
			subtle.ConstantTimeCompare(pk.Connect.Password, []byte(o.Password)) == 1
}

// OnACLCheck implements broker.Hook.
func (h *hook) OnACLCheck(*broker.Client, string, bool) bool { return true }

// OnPacketEncode implements broker.Hook. It adds what the broker leaves out:
// its greatest packet, and a reason code below 0x80, which it sends only beside
// a property.
func (h *hook) OnPacketEncode(_ *broker.Client, pk packets.Packet) packets.Packet {
	switch {
	case pk.FixedHeader.Type == packets.Connack:
		pk.Properties.MaximumPacketSize = h.server.o.MaxPacket
	case pk.FixedHeader.Type == packets.Puback && pk.ReasonCode == packets.CodeNoMatchingSubscribers.Code:
		pk.Properties.ReasonString = packets.CodeNoMatchingSubscribers.Reason
	}
	return pk
}

// OnPublish implements broker.Hook. An error that is a packets.Code becomes
// the reason code of the PUBACK.
func (h *hook) OnPublish(c *broker.Client, pk packets.Packet) (packets.Packet, error) {
	s := h.server
	k := Kick{
		Topic: pk.TopicName, Payload: string(pk.Payload), QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain,
		Expiry: pk.Properties.MessageExpiryInterval, ClientID: c.ID,
	}
	if s.o.Answer != nil {
		if code := s.o.Answer(k); code != 0 {
			return pk, packets.Code{Code: code, Reason: "the simulator was told to answer so"}
		}
	}
	s.taken.Add(1)
	s.o.Log.Info("published", "topic", k.Topic, "qos", k.QoS)
	if s.o.OnKick != nil {
		s.o.OnKick(k)
	}
	return pk, nil
}
