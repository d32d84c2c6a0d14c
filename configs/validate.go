package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers"
)

const (
	day     = 24 * time.Hour
	longest = 3650 * day
)

func (s *Server) check() []string {
	c := new(check)
	s.Node.check(c)
	if s.PublicURL != "" {
		c.url("public_url", s.PublicURL)
	}
	c.atLeast("publish.waiting", float64(s.Publish.Waiting), 1)
	c.between("publish.wait", s.Publish.Wait, time.Second, 10*time.Minute)
	c.atLeast("publish.endpoint_rate", s.Publish.EndpointRate, 0)
	c.atLeast("publish.endpoint_burst", float64(s.Publish.EndpointBurst), 1)
	c.atLeast("publish.batches", float64(s.Publish.Batches), 1)
	c.atLeast("publish.receipts", float64(s.Publish.Receipts), 1)
	c.between("publish.idle", s.Publish.Idle, time.Second, 10*time.Minute)
	return c.faults
}

func (r *Relay) check() []string {
	c := new(check)
	kinds := r.Node.check(c)
	r.UpstreamKicks.check(c, "upstream_kicks", kinds)
	c.name("name", r.Name)
	if len(r.Upstreams) == 0 {
		c.fault("upstreams", "empty: a relay needs one, as with --upstream http://127.0.0.1:8080")
	}
	seen := make(map[string]int)
	for i := range r.Upstreams {
		u := &r.Upstreams[i]
		path := fmt.Sprintf("upstreams[%d]", i)
		if u.Name != "" {
			path += fmt.Sprintf(" (%s)", u.Name)
		}
		if j, twice := seen[u.Name]; twice {
			c.fault(path+".name", "%q is the name of upstreams[%d] already", u.Name, j)
		}
		seen[u.Name] = i
		u.check(c, path, r)
	}
	return c.faults
}

func (u *Upstream) check(c *check, path string, r *Relay) {
	c.name(path+".name", u.Name)
	c.url(path+".url", u.URL)
	if u.Relay == "" {
		u.Relay = r.Name
	}
	c.name(path+".relay", u.Relay)
	if u.Token == "" && u.TokenFile == "" && u.CertFile == "" {
		u.TokenFile = sharedToken(r.Data)
	}
	if u.Token == "" && u.TokenFile == "" && u.CertFile == "" {
		c.fault(path, "no token: give --token-file FILE or token_file: (a server makes one at its first start and keeps it as %s in its data folder)", TokenFileName)
	}
	c.token(path, &u.Token, u.TokenFile)
	c.certs(path+".ca_file", u.CAFile)
	c.keyPair(path, u.CertFile, u.KeyFile)
	c.oneOf(path+".mode", u.Mode, "auto", "websocket", "poll")
	c.between(path+".interval", u.Interval, 0, day)
	c.between(path+".wait", u.Wait, 0, time.Minute)
	if u.Wait == 0 && u.Interval == 0 {
		c.fault(path+".interval", "0s, and wait is 0s as well: the relay would poll without a pause")
	}
	c.oneOf(path+".custody", u.Custody, custodies...)
}

// sharedToken finds the token of a server that keeps its data in the same
// folder, so that two commands without flags find each other.
func sharedToken(data string) string {
	file := filepath.Join(data, TokenFileName)
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	return file
}

// check returns the kinds of drivers, see checkKicks.
func (n *Node) check(c *check) map[string]string {
	c.address("listen", n.Listen)
	c.address("admin", n.Admin)
	if n.Data == "" {
		c.fault("data", "empty: name a folder")
	}
	c.keyPair("tls", n.TLS.CertFile, n.TLS.KeyFile)
	c.certs("tls.client_ca_file", n.TLS.ClientCAFile)
	n.checkRelays(c)

	c.oneOf("store.sync", n.Store.Sync, "always", "interval")
	c.between("store.interval", n.Store.Interval, time.Millisecond, time.Minute)
	c.between("store.ttl", n.Store.TTL, time.Second, longest)
	c.between("store.registration_ttl", n.Store.RegistrationTTL, 0, longest)
	c.between("store.sweep_every", n.Store.SweepEvery, time.Second, day)
	c.atLeast("store.memory_rows", float64(n.Store.MemoryRows), 1000)
	c.atLeast("store.journal_bytes", float64(n.Store.JournalBytes), 1<<20)
	c.atLeast("store.device_messages", float64(n.Store.DeviceMessages), 1)
	c.atLeast("store.device_bytes", float64(n.Store.DeviceBytes), 8<<10)
	c.atLeast("store.messages", float64(n.Store.Messages), 1000)
	c.atLeast("store.message_bytes", float64(n.Store.MessageBytes), 1<<20)
	c.between("hub.grace", n.Hub.Grace, 0, time.Second)

	n.Session.check(c)
	n.Dialects.check(c)
	kinds := n.checkKicks(c)
	n.Gateway.check(c, kinds)
	n.Wakeup.check(c, kinds)
	c.between("drain", n.Drain, 0, 10*time.Minute)
	c.oneOf("log.level", n.Log.Level, "debug", "info", "warn", "error")
	c.oneOf("log.format", n.Log.Format, "text", "json")
	return kinds
}

// checkKicks returns the kinds of drivers by the names of their entries, nil
// when those cannot be read.
func (n *Node) checkKicks(c *check) map[string]string {
	entries, err := kickdrivers.Decode(n.Kicks)
	if err != nil {
		c.faults = append(c.faults, leavesOfError(err)...)
		return nil
	}
	kinds := make(map[string]string, len(entries))
	for _, e := range entries {
		kinds[e.Name] = e.Driver
	}
	return kinds
}

// leavesOfError returns the texts of all errors that were joined into one.
func leavesOfError(err error) (texts []string) {
	many, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == edition.ErrConfig: //nolint:errorlint // the bare word, which the whole says once
		return nil
	case !ok:
		return []string{err.Error()}
	}
	for _, e := range many.Unwrap() {
		texts = append(texts, leavesOfError(e)...)
	}
	return texts
}

func (d Dialects) check(c *check) {
	c.between("dialects.ping_min", d.PingMin, 0, time.Hour)
	c.atLeast("dialects.max_channels", float64(d.MaxChannels), 1)
	c.oneOf("dialects.versions", d.Versions, VersionsGreatest, VersionsLast)
	c.atLeast("dialects.msg_limit", float64(d.MsgLimit), 0)
}

func (s Session) check(c *check) {
	c.between("session.hello_timeout", s.HelloTimeout, time.Second, 10*time.Minute)
	c.between("session.ping", s.Ping, time.Second, time.Hour)
	if s.IdleClose != 0 {
		c.between("session.idle_close", s.IdleClose, time.Second, day)
	}
	c.between("session.ack_timeout", s.AckTimeout, time.Second, time.Hour)
	c.between("session.ack_timeout_max", s.AckTimeoutMax, s.AckTimeout, day)
	c.between("session.write_timeout", s.WriteTimeout, time.Second, 10*time.Minute)
	c.atLeast("session.uaids", float64(s.UAIDs), 1)
	c.atLeast("session.message_rate", s.MessageRate, 0)
	c.atLeast("session.message_burst", float64(s.MessageBurst), 1)
	c.atLeast("session.register_rate", s.RegisterRate, 0)
	c.atLeast("session.register_burst", float64(s.RegisterBurst), 1)
	c.atLeast("session.relay_window", float64(s.RelayWindow), 1)
}

func (n *Node) checkRelays(c *check) {
	names := make(map[string]int)
	for i := range n.Relays {
		r := &n.Relays[i]
		path := fmt.Sprintf("relays[%d]", i)
		if r.Name != "" {
			path += fmt.Sprintf(" (%s)", r.Name)
		}
		c.name(path+".name", r.Name)
		if j, twice := names[r.Name]; twice {
			c.fault(path+".name", "%q is the name of relays[%d] already", r.Name, j)
		}
		names[r.Name] = i
		c.token(path, &r.Token, r.TokenFile)
		if r.Token == "" && r.TokenFile == "" && r.CertName == "" {
			c.fault(path, "no proof: give token_file or cert_name")
		}
		c.oneOf(path+".custody", r.Custody, custodies...)
		if r.CertName != "" && n.TLS.ClientCAFile == "" {
			c.fault(path+".cert_name", "needs tls.client_ca_file to check certificates with")
		}
	}
}
