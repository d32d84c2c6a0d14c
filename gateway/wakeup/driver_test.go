package wakeup_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/gateway/wakeup"
	"github.com/edition-push/edition/kickdrivers/driver"
	driverwakeup "github.com/edition-push/edition/kickdrivers/wakeup"
)

// TestDriverWakeup has the kick driver wakeup, the client's side of the API,
// learn the networks, wake a device, and tell apart what goes wrong.
func TestDriverWakeup(t *testing.T) {
	node, url, _ := start(t, wakeup.Options{Access: loopback(), Global: wakeup.Global{Networks: []wakeup.Network{
		{MCC: "214", MNC: "07", Host: local(t), Ranges: prefixes("127.0.0.0/8")},
		{NetID: "closed", Host: "http://127.0.0.1:1", Ranges: prefixes("127.0.0.0/8"), Offline: true},
	}}})
	c := driverwakeup.DefaultConfig()
	c.URL, c.Interval, c.Timeout = url, 100*time.Millisecond, patience
	d, err := driverwakeup.New(c, driver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	phone, port := phone(t)
	check := func(target string) (stored json.RawMessage, err error) {
		return d.Check(json.RawMessage(strings.ReplaceAll(target, "PORT", port)), netip.MustParseAddr("127.0.0.1"), 200)
	}
	var stored json.RawMessage
	until(t, "the driver knows the networks", func() bool {
		stored, err = check(`{"ip":"127.0.0.1","port":PORT,"mcc":"214","mnc":"07"}`)
		return err == nil
	})
	kick := func(target json.RawMessage) error {
		errs := make([]error, 1)
		d.Kick(t.Context(), []driver.Kick{{Target: target, Confirm: "K7TQ2MXB"}}, errs)
		return errs[0]
	}
	if err := kick(stored); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, phone), "NOTIFY 127.0.0.1:"+port+" K7TQ2MXB"; got != want {
		t.Errorf("the device got %q, want %q", got, want)
	}
	if _, err := check(`{"ip":"10.0.0.1","port":4000,"mcc":"214","mnc":"07"}`); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("outside the network: %v", err)
	}
	// One network that is offline is not the platform's trouble.
	closed, err := check(`{"ip":"127.0.0.1","port":PORT,"netid":"closed"}`)
	if err == nil {
		err = kick(closed)
	}
	if err == nil || errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a network that is offline: %v", err)
	}
	node.Drain()
	if err := kick(stored); !errors.Is(err, edition.ErrUnavailable) {
		t.Errorf("a platform that shuts down: %v", err)
	}
}
