package configs

import (
	"path/filepath"
	"time"
)

// The roles, as the commands name them.
const (
	RoleServer = "server"
	RoleRelay  = "relay"
)

// Node is what both roles have.
type Node struct {
	Listen   string           `yaml:"listen"` // host:port for devices and app servers; port 0 takes a free one
	Admin    string           `yaml:"admin"`  // host:port for health, metrics and profiles
	Data     string           `yaml:"data"`   // folder, made 0700 when absent
	TLS      TLS              `yaml:"tls"`
	Relays   []Peer           `yaml:"relays"` // who may connect as a relay
	Store    Store            `yaml:"store"`
	Hub      Hub              `yaml:"hub"`
	Session  Session          `yaml:"session"`
	Dialects Dialects         `yaml:"dialects"`
	Kicks    []map[string]any `yaml:"kicks"` // the drivers, see kickdrivers.Decode
	Gateway  Gateway          `yaml:"gateway"`
	Wakeup   Wakeup           `yaml:"wakeup"`
	Drain    time.Duration    `yaml:"drain"` // over which connections are closed at a stop
	Log      Log              `yaml:"log"`
}

// Server configures `edition server`.
type Server struct {
	Node `yaml:",inline"`

	PublicURL string  `yaml:"public_url"` // how app servers reach this one; empty: the address bound
	KeysFile  string  `yaml:"keys_file"`  // the endpoint key ring; empty: endpoint-keys.yaml in the data folder
	Publish   Publish `yaml:"publish"`
}

// Relay configures `edition relay`.
type Relay struct {
	Node `yaml:",inline"`

	Name      string     `yaml:"name"` // this relay's name towards its upstreams
	Upstreams []Upstream `yaml:"upstreams"`
	// UpstreamKicks are what upstreams may ask of the drivers here, over the
	// relay's own connection to them; without drivers nothing.
	UpstreamKicks Rights `yaml:"upstream_kicks"`
}

// TLS makes the device door speak HTTPS.
type TLS struct {
	CertFile     string `yaml:"cert_file"`
	KeyFile      string `yaml:"key_file"`
	ClientCAFile string `yaml:"client_ca_file"` // checks the certificates that relays present
}

// Peer is a relay that may connect here. It proves itself by a bearer token or
// by a client certificate.
type Peer struct {
	Name      string `yaml:"name"`
	Token     Secret `yaml:"token,omitempty"` // or several, one a line
	TokenFile string `yaml:"token_file,omitempty"`
	CertName  string `yaml:"cert_name,omitempty"` // common name or DNS name in the certificate
	Custody   string `yaml:"custody,omitempty"`   // what a relay gets that asks for nothing; empty: device
}

// Upstream is a server or relay that a relay connects to.
type Upstream struct {
	Name      string         `yaml:"name"` // known here and to devices that choose one; it stays in the data file
	URL       string         `yaml:"url"`
	Relay     string         `yaml:"relay,omitempty"` // this relay's name there; empty: the relay's name
	Token     Secret         `yaml:"token,omitempty"` // of several lines the first
	TokenFile string         `yaml:"token_file,omitempty"`
	CAFile    string         `yaml:"ca_file,omitempty"`
	CertFile  string         `yaml:"cert_file,omitempty"`
	KeyFile   string         `yaml:"key_file,omitempty"`
	Mode      string         `yaml:"mode"`     // auto, websocket or poll
	Interval  time.Duration  `yaml:"interval"` // after a poll that brought nothing
	Wait      time.Duration  `yaml:"wait"`     // how long a poll may be held
	Proxy     Secret         `yaml:"proxy,omitempty"`
	Custody   string         `yaml:"custody,omitempty"`
	Kick      map[string]any `yaml:"kick,omitempty"` // how the upstream may wake this relay
}

// Store configures the data file.
type Store struct {
	Sync            string        `yaml:"sync"`     // always or interval
	Interval        time.Duration `yaml:"interval"` // of syncs, with sync: interval
	TTL             time.Duration `yaml:"ttl"`      // after which a pending version expires
	RegistrationTTL time.Duration `yaml:"registration_ttl"`
	SweepEvery      time.Duration `yaml:"sweep_every"`
	MemoryRows      int           `yaml:"memory_rows"`   // registrations in memory before they are folded into the file
	JournalBytes    int64         `yaml:"journal_bytes"` // of the file's journal before the same
	// Messages of Web Push that wait: for one device, and for all together.
	DeviceMessages int   `yaml:"device_messages"`
	DeviceBytes    int64 `yaml:"device_bytes"`
	Messages       int64 `yaml:"messages"`
	MessageBytes   int64 `yaml:"message_bytes"`
}

// Hub configures the core.
type Hub struct {
	Grace time.Duration `yaml:"grace"` // given to an ack to overtake the commit
}

// Log configures what is logged to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// DataFile returns the path of a role's data file.
func (n Node) DataFile(role string) string {
	if role == RoleRelay {
		return filepath.Join(n.Data, "relay.db")
	}
	return filepath.Join(n.Data, "edition.db")
}

// TokenFileName is the file in a server's data folder that holds the relay
// token made at its first start, and where a relay that shares the folder
// looks for one.
const TokenFileName = "relay.token"

// KeyringFile returns the path of the endpoint key ring.
func (s Server) KeyringFile() string {
	if s.KeysFile != "" {
		return s.KeysFile
	}
	return filepath.Join(s.Data, "endpoint-keys.yaml")
}
