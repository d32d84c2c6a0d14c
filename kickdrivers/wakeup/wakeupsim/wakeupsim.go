// Package wakeupsim is a mobile carrier's wake-up platform for desks and
// tests: it takes the requests that package wakeup makes, checks them as the
// platform does, and tells them. It wakes nobody.
//
// It promises the answers of Telefónica's platform (the routers wakeup and
// netinfo of github.com/telefonicaid/wakeup_platform_global), over a real
// socket.
package wakeupsim

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edition-push/edition/kickdrivers/simtls"
)

// Kick is one request to wake a device.
type Kick struct {
	IP             string
	Port           int
	Proto          string // as asked for, may be empty
	NetID          string // which network it was
	MCC, MNC       string // as asked for, may be empty
	Confirm        string
	Tracking       string // X-Tracking-ID
	RealIP         string // X-Real-IP
	ForwardedFor   string // X-Forwarded-For
	ClientVerified string // X-Client-Cert-Verified
	ClientDN       string // X-Client-Cert-DN
}

// Network is one that the platform reaches.
type Network struct {
	NetID     string   `json:"netid"`
	Codes     string   `json:"mccmnc"` // "214-07"
	Range     []string `json:"range"`
	Protocols []string `json:"protocols,omitempty"` // none: any
	Offline   bool     `json:"offline"`
}

// Answer is one of the platform's. The zero Answer is what it says by itself.
type Answer struct {
	Status     int
	Text       string
	RetryAfter int // seconds; 0: not said
}

// Options of a platform. The zero Options are usable, but for Networks.
type Options struct {
	Addr string       // to listen on; default 127.0.0.1:0
	Log  *slog.Logger // nil: silent
	// OnKick is called with each request that is accepted, from many
	// goroutines.
	OnKick func(Kick)
	// Answer, if not nil, says what a request that is well formed is
	// answered; the zero Answer accepts it.
	Answer func(Kick) Answer
	// NetInfo, if not nil, is asked for the answer to GET /netinfo/v1; the
	// zero Answer tells the networks.
	NetInfo  func() Answer
	Networks []Network
	// TLS makes the platform speak TLS, ClientCert demands a certificate of
	// its own authority as well; see WriteFiles.
	TLS, ClientCert bool
}

// Server is a platform that runs. Make one with Start.
type Server struct {
	o      Options
	addr   net.Addr
	ca     *simtls.Authority // nil without TLS
	server *http.Server
	ended  chan struct{}
	taken  atomic.Int64

	mu       sync.Mutex
	networks []Network // Guarded by mu.
}

// Start opens a platform.
func Start(o Options) (*Server, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, networks: slices.Clone(o.Networks), ended: make(chan struct{})}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr()
	if o.TLS || o.ClientCert {
		conf, err := s.secure()
		if err != nil {
			l.Close()
			return nil, err
		}
		l = tls.NewListener(l, conf)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/wakeup/v1", s.wakeup)
	mux.HandleFunc("/netinfo/v1", s.netinfo)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		Answer{Status: http.StatusNotFound, Text: "Not found"}.write(w)
	})
	s.server = &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(s.ended)
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			o.Log.Error("the simulator has ended", "err", err)
		}
	}()
	return s, nil
}

func (s *Server) secure() (*tls.Config, error) {
	var err error
	if s.ca, err = simtls.New("edition wakeupsim"); err != nil {
		return nil, err
	}
	cert, err := s.ca.Server()
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if s.o.ClientCert {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, s.ca.Pool()
	}
	return conf, nil
}

// Addr is where the platform listens.
func (s *Server) Addr() string { return s.addr.String() }

// URL is what a driver's url is set to.
func (s *Server) URL() string {
	if s.ca != nil {
		return "https://" + s.Addr()
	}
	return "http://" + s.Addr()
}

// Taken is how many requests were accepted.
func (s *Server) Taken() int { return int(s.taken.Load()) }

// SetNetworks replaces the networks.
func (s *Server) SetNetworks(list ...Network) {
	s.mu.Lock()
	s.networks = slices.Clone(list)
	s.mu.Unlock()
}

func (s *Server) list() []Network {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.networks
}

// WriteFiles writes into a folder what a client of a platform with TLS needs:
// ca.pem, client.pem and client-key.pem.
func (s *Server) WriteFiles(dir string) error {
	if s.ca == nil {
		return errors.New("this platform does not speak TLS")
	}
	return s.ca.WriteFiles(dir, "edition")
}

// Close ends the platform, requests under way included.
func (s *Server) Close() error {
	err := s.server.Close()
	<-s.ended
	return err
}

func (a Answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain")
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(a.RetryAfter))
	}
	w.WriteHeader(a.Status)
	io.WriteString(w, a.Text) //nolint:errcheck // the client may have gone
}

// netinfo answers GET /netinfo/v1.
func (s *Server) netinfo(w http.ResponseWriter, _ *http.Request) {
	if s.o.NetInfo != nil {
		if a := s.o.NetInfo(); a.Status != 0 {
			a.write(w)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"nets": s.list()}) //nolint:errcheck // the client may have gone
}

// wakeup answers POST /wakeup/v1.
func (s *Server) wakeup(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		Answer{Status: http.StatusMethodNotAllowed, Text: "Bad method. Only POST is allowed"}.write(w)
		return
	}
	k, a := s.read(r)
	if a.Status == 0 && s.o.Answer != nil {
		a = s.o.Answer(k)
	}
	if a.Status == 0 {
		a = Answer{Status: http.StatusOK, Text: "Accepted"}
	}
	s.o.Log.Info("asked to wake", "ip", k.IP, "port", k.Port, "netid", k.NetID, "status", a.Status, "tracking_id", k.Tracking)
	if a.Status == http.StatusOK {
		s.taken.Add(1)
		if s.o.OnKick != nil {
			s.o.OnKick(k)
		}
	}
	a.write(w)
}

const maxBody = 4 << 10

// read checks a request in the order of the platform. The answer is the zero
// one when it is to be accepted.
func (s *Server) read(r *http.Request) (Kick, Answer) {
	bad := func(text string) Answer {
		return Answer{Status: http.StatusBadRequest, Text: "Bad parameters. " + text}
	}
	k := Kick{
		Tracking: r.Header.Get("X-Tracking-ID"), RealIP: r.Header.Get("X-Real-IP"), ForwardedFor: r.Header.Get("X-Forwarded-For"),
		ClientVerified: r.Header.Get("X-Client-Cert-Verified"), ClientDN: r.Header.Get("X-Client-Cert-DN"),
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || len(body) == 0 {
		return k, bad("No required data provided")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return k, bad("No required data provided")
	}
	k.IP, k.Proto, k.NetID, k.MCC, k.MNC = form.Get("ip"), form.Get("proto"), form.Get("netid"), form.Get("mcc"), form.Get("mnc")
	k.Confirm = form.Get("confirm")
	ip, err := netip.ParseAddr(k.IP)
	port, portErr := strconv.Atoi(form.Get("port"))
	if err != nil || portErr != nil || port <= 0 || port > 65535 {
		return k, bad("Bad IP/Port")
	}
	k.Port = port
	if k.NetID == "" && (k.MCC == "" || k.MNC == "") {
		return k, bad("Bad NetID OR MCC/MNC")
	}
	n, found := s.find(k)
	if !found {
		return k, Answer{Status: http.StatusNotFound, Text: "No network found"}
	}
	k.NetID = n.NetID
	switch {
	case !slices.ContainsFunc(n.Range, func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Contains(ip)
	}):
		return k, Answer{Status: http.StatusBadRequest, Text: fmt.Sprintf("Client IP (%s) is out of the mobile network range", ip)}
	case n.Offline:
		return k, Answer{Status: http.StatusServiceUnavailable, Text: "Error, network " + n.NetID + " is offline now"}
	case k.Proto != "" && len(n.Protocols) > 0 && !slices.Contains(n.Protocols, k.Proto):
		return k, Answer{Status: http.StatusBadRequest, Text: "Error, protocol " + k.Proto + " is not accepted"}
	}
	return k, Answer{}
}

// find returns the network by netid; codes stand for the netid "mcc-mnc.default".
func (s *Server) find(k Kick) (Network, bool) {
	netid := k.NetID
	if netid == "" {
		netid = k.MCC + "-" + k.MNC + ".default"
	}
	list := s.list()
	i := slices.IndexFunc(list, func(n Network) bool { return n.NetID == netid })
	if i < 0 {
		return Network{}, false
	}
	return list[i], true
}
