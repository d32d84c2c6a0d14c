package wakeup_test

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edition-push/edition"
	"github.com/edition-push/edition/kickdrivers/driver"
	"github.com/edition-push/edition/kickdrivers/wakeup"
	"github.com/edition-push/edition/kickdrivers/wakeup/wakeupsim"
)

// TestNetworksChange has the platform take a network away, and give another.
func TestNetworksChange(t *testing.T) {
	var requests lines
	s := start(t, wakeupsim.Options{Log: slog.New(slog.NewTextHandler(&requests, nil))})
	asked := func() int { return strings.Count(requests.String(), "asked to wake") }
	d := open(t, config(s), driver.Env{})
	defer shut(t, d)
	const here, there = `{"ip":"192.168.0.1","port":4000,"netid":"lab-1"}`, `{"ip":"192.168.0.1","port":4000,"netid":"lab-2"}`
	if err := kickOne(t.Context(), d, here, ""); err != nil {
		t.Fatal(err)
	}
	other := lab
	other.NetID = "lab-2"
	s.SetNetworks(carrier, other)
	until(t, "the driver knows the new list", func() bool { _, err := check(d, there); return err == nil })
	if err := kickOne(t.Context(), d, here, ""); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("a network that is gone: %v", err)
	}
	if err := kickOne(t.Context(), d, there, ""); err != nil {
		t.Error(err)
	}
	other.Offline = true
	s.SetNetworks(other)
	until(t, "the driver knows that it is offline", func() bool {
		before := asked()
		return kickOne(t.Context(), d, there, "") != nil && asked() == before
	})
	before := asked()
	if err := kickOne(t.Context(), d, there, ""); err == nil || asked() != before {
		t.Errorf("a network that is offline was asked for: %v", err)
	}
	if _, err := check(d, there); err != nil {
		t.Errorf("registering in a network that is offline now: %v", err)
	}
}

// TestNetInfo has the platform tell its networks in all ways, sensible or not.
func TestNetInfo(t *testing.T) {
	const ok, none = "known", "unknown"
	for name, c := range map[string]struct {
		status int
		body   string
		want   string // of lab-1
	}{
		"a list of ranges":    {200, `{"nets":[{"netid":"lab-1","mccmnc":"001-01","range":["172.16.0.0/12","192.168.0.0/16"],"offline":false}]}`, ok},
		"one range":           {200, `{"nets":[{"netid":"lab-1","range":"192.168.0.0/16"}]}`, ok},
		"bits behind":         {200, `{"nets":[{"netid":"lab-1","range":"192.168.1.1/16"}]}`, ok},
		"the old form":        {200, `[{"netid":"lab-1","mccmnc":"001-01","range":"192.168.0.0/16","offline":false}]`, ok},
		"among bad ones":      {200, `{"nets":[7,"BAD",{"netid":"a b","range":"10.0.0.0/8"},{"netid":"x"},{"netid":"lab-1","range":"192.168.0.0/16"}]}`, ok},
		"twice, the first":    {200, `{"nets":[{"netid":"lab-1","range":"192.168.0.0/16"},{"netid":"lab-1","range":"10.0.0.0/8"}]}`, ok},
		"no networks":         {200, `{"nets":[]}`, "forbidden"},
		"a bad range":         {200, `{"nets":[{"netid":"lab-1","range":["192.168.0.0/16","192.168.0.0/33"]}]}`, "forbidden"},
		"no list":             {200, `{}`, none},
		"null":                {200, `null`, none},
		"text":                {200, `networks`, none},
		"empty":               {200, ``, none},
		"not found":           {404, `{"nets":[{"netid":"lab-1","range":"192.168.0.0/16"}]}`, none},
		"a page":              {503, `<html>`, none},
		"a great many":        {200, `[` + strings.Repeat(`{},`, 10000) + `{}]`, none},
		"more than is read":   {200, `{"nets":[` + strings.Repeat(" ", 4<<20) + `]}`, none},
		"codes of no network": {200, `{"nets":[{"netid":"lab-1","mccmnc":"x","range":"192.168.0.0/16"}]}`, ok},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, wakeupsim.Options{NetInfo: func() wakeupsim.Answer { return wakeupsim.Answer{Status: c.status, Text: c.body} }})
			d := open(t, config(s), driver.Env{})
			defer shut(t, d)
			_, err := check(d, `{"ip":"192.168.0.1","port":4000,"netid":"lab-1"}`)
			got := ok
			switch {
			case errors.Is(err, edition.ErrUnavailable):
				got = none
			case errors.Is(err, edition.ErrForbidden):
				got = "forbidden"
			case err != nil:
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("lab-1 is %s (%v), want %s", got, err, c.want)
			}
		})
	}
}

// TestKeepsWhatItKnows has the platform stop telling its networks.
func TestKeepsWhatItKnows(t *testing.T) {
	var asked, broken atomic.Int64
	s := start(t, wakeupsim.Options{NetInfo: func() wakeupsim.Answer {
		asked.Add(1)
		if broken.Load() == 1 {
			return wakeupsim.Answer{Status: http.StatusInternalServerError}
		}
		return wakeupsim.Answer{}
	}})
	var out lines
	d := open(t, config(s), driver.Env{Log: slog.New(slog.NewTextHandler(&out, nil))})
	defer shut(t, d)
	const target = `{"ip":"10.1.2.3","port":4000,"mcc":"214","mnc":"07"}`
	if err := kickOne(t.Context(), d, target, ""); err != nil {
		t.Fatal(err)
	}
	broken.Store(1)
	after := asked.Load() + 3
	until(t, "the driver asks again", func() bool { return asked.Load() > after })
	if err := kickOne(t.Context(), d, target, ""); err != nil {
		t.Errorf("with the list of before: %v", err)
	}
	if n := strings.Count(out.String(), "does not tell its networks"); n != 1 {
		t.Errorf("%d warnings of one trouble:\n%s", n, out.String())
	}
	broken.Store(0)
	until(t, "the log says that all is well", func() bool { return strings.Contains(out.String(), "tells its networks again") })
}

// TestOperatorsNetworks has a list in the configuration: it stands alone while
// the platform tells nothing, and narrows what it tells.
func TestOperatorsNetworks(t *testing.T) {
	own := []wakeup.Network{
		{NetID: "lab-1", CIDRs: []string{"192.168.7.0/24"}},
		{MCC: "214", MNC: "07", CIDRs: []string{"10.7.0.0/16"}},
		{NetID: "mine", CIDRs: []string{"172.16.0.0/12"}},
	}
	both := map[string]error{
		`{"ip":"192.168.7.1","port":4000,"netid":"lab-1"}`:            nil,
		`{"ip":"192.168.8.1","port":4000,"netid":"lab-1"}`:            edition.ErrForbidden,
		`{"ip":"192.168.7.255","port":4000,"netid":"lab-1"}`:          edition.ErrForbidden, // broadcast there
		`{"ip":"10.7.0.1","port":4000,"mcc":"214","mnc":"07"}`:        nil,
		`{"ip":"10.8.0.1","port":4000,"mcc":"214","mnc":"07"}`:        edition.ErrForbidden,
		`{"ip":"10.7.0.1","port":4000,"netid":"dark"}`:                edition.ErrForbidden,
		`{"ip":"10.7.0.1","port":4000,"mcc":"002","mnc":"02"}`:        edition.ErrForbidden,
		`{"ip":"192.168.7.1","port":4000,"mcc":"001","mnc":"01"}`:     nil,                  // told for lab-1
		`{"ip":"172.16.0.1","port":4000,"netid":"mine"}`:              edition.ErrForbidden, // not told
		`{"ip":"10.7.0.1","port":4000,"netid":"214-07.default"}`:      nil,
		`{"ip":"192.168.7.1","port":4000,"netid":"nobody's"}`:         edition.ErrMalformed,
		`{"ip":"192.168.7.1","port":4000,"netid":"lab-1","proto":""}`: nil,
	}
	alone := map[string]error{
		`{"ip":"192.168.7.1","port":4000,"netid":"lab-1"}`:       nil,
		`{"ip":"10.7.0.1","port":4000,"mcc":"214","mnc":"07"}`:   nil,
		`{"ip":"10.8.0.1","port":4000,"mcc":"214","mnc":"07"}`:   edition.ErrForbidden,
		`{"ip":"172.16.0.1","port":4000,"netid":"mine"}`:         nil,
		`{"ip":"10.7.0.1","port":4000,"netid":"214-07.default"}`: edition.ErrForbidden,
	}
	run := func(t *testing.T, d *wakeup.Driver, cases map[string]error) {
		for target, want := range cases {
			if _, err := check(d, target); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("Check(%s): %v, want %v", target, err, want)
			}
			err := kickOne(t.Context(), d, target, "")
			if errors.Is(want, edition.ErrForbidden) != errors.Is(err, edition.ErrForbidden) {
				t.Errorf("Kick(%s): %v, want %v", target, err, want)
			}
		}
	}
	t.Run("and the platform's", func(t *testing.T) {
		d := open(t, withNetworks(config(start(t, wakeupsim.Options{})), own), driver.Env{})
		defer shut(t, d)
		until(t, "the platform has told its networks", func() bool {
			_, err := check(d, `{"ip":"172.16.0.1","port":4000,"netid":"mine"}`)
			return err != nil
		})
		run(t, d, both)
	})
	t.Run("alone, for the platform tells none", func(t *testing.T) {
		s := start(t, wakeupsim.Options{NetInfo: func() wakeupsim.Answer { return wakeupsim.Answer{Status: 500} }, Networks: []wakeupsim.Network{
			{NetID: "lab-1", Range: []string{"192.168.0.0/16"}}, carrier, {NetID: "mine", Range: []string{"172.16.0.0/12"}},
		}})
		d := open(t, withNetworks(config(s), own), driver.Env{})
		defer shut(t, d)
		run(t, d, alone)
	})
	t.Run("alone, for it is not asked", func(t *testing.T) {
		var got inbox
		s := start(t, wakeupsim.Options{OnKick: got.add, NetInfo: func() wakeupsim.Answer {
			t.Error("the platform was asked for its networks")
			return wakeupsim.Answer{}
		}})
		c := withNetworks(config(s), own)
		c.Interval = 0
		d := open(t, c, driver.Env{})
		defer shut(t, d)
		run(t, d, map[string]error{`{"ip":"10.8.0.1","port":4000,"mcc":"214","mnc":"07"}`: edition.ErrForbidden})
		stored, err := check(d, `{"ip":"10.7.0.1","port":4000,"mcc":"214","mnc":"07"}`)
		if err != nil {
			t.Fatal(err)
		}
		if err := kickOne(t.Context(), d, string(stored), ""); err != nil {
			t.Fatal(err)
		}
		if k := got.all()[0]; k.MCC != "214" || k.MNC != "07" {
			t.Errorf("a network without a netid was asked for by %+v", k)
		}
	})
}

func withNetworks(c wakeup.Config, own []wakeup.Network) wakeup.Config {
	c.Networks = own
	return c
}

// TestSameCodes: codes that several networks have name none of them.
func TestSameCodes(t *testing.T) {
	s := start(t, wakeupsim.Options{Networks: []wakeupsim.Network{
		{NetID: "north", Codes: "001-01", Range: []string{"10.0.0.0/8"}},
		{NetID: "south", Codes: "001-01", Range: []string{"10.0.0.0/8"}},
		{NetID: "west", Codes: "001-01", Range: []string{"172.16.0.0/12"}},
	}})
	d := open(t, config(s), driver.Env{})
	defer shut(t, d)
	if _, err := check(d, `{"ip":"10.0.0.1","port":4000,"mcc":"001","mnc":"01"}`); !errors.Is(err, edition.ErrForbidden) {
		t.Errorf("one of two networks: %v", err)
	}
	stored, err := check(d, `{"ip":"172.16.0.1","port":4000,"mcc":"001","mnc":"01"}`)
	if err != nil || string(stored) != `{"ip":"172.16.0.1","port":4000,"proto":"udp","netid":"west"}` {
		t.Errorf("the one network that has the address: %s, %v", stored, err)
	}
}
