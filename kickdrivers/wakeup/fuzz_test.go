package wakeup

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/edition-push/edition/kickdrivers/driver"
)

// FuzzNetInfo reads what a platform may tell: whatever is taken can be worked
// with.
func FuzzNetInfo(f *testing.F) {
	for _, s := range []string{
		`{"nets":[{"netid":"lab-1","mccmnc":"001-01","range":["10.0.0.0/8","fd00::/8"],"protocols":["udp"],"offline":true}]}`,
		`[{"netid":"214-07.default","mccmnc":"214-07","range":"10.0.0.0/8"},"BAD"]`,
		`{"nets":null}`, `{}`, `[]`, `7`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		told, bad, err := parseNetInfo(body)
		if err != nil && (told != nil || bad != 0) {
			t.Fatalf("an error, %v, and networks", err)
		}
		seen := make(map[string]bool)
		for i := range told {
			n := &told[i]
			if !validNetID.MatchString(n.netid) || seen[n.netid] || len(n.ranges) == 0 {
				t.Fatalf("took %+v", *n)
			}
			seen[n.netid] = true
			for _, p := range n.ranges {
				if found, err := table(told).find(n.netid, "", p.Addr()); err != nil || found != n {
					t.Fatalf("cannot find %s: %v", n.netid, err)
				}
				if !n.holds(p.Addr()) {
					t.Fatalf("%s is not in %v", p.Addr(), n.ranges)
				}
			}
		}
	})
}

// FuzzTarget registers what a device may write: what is accepted lies in the
// network, is accepted again as it is stored, and makes one request.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{
		`{"ip":"10.1.2.3","port":4000,"netid":"lab-1"}`, `{"ip":"::ffff:10.1.2.3","port":4000,"mcc":"214","mnc":"07","proto":"tcp"}`,
		`{"ip":"fd00::1","port":65535,"netid":"1","mcc":"214","mnc":"07"}`, `{"ip":"10.255.255.255","port":4000,"netid":"lab-1"}`,
		`{"ip":"","port":4000,"netid":"lab-1"}`, `{"ip":"fe80::1%eth0","port":1e3,"netid":"lab-1"}`,
	} {
		f.Add([]byte(s))
	}
	ten, six := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")
	c := DefaultConfig()
	c.URL, c.Interval, c.Timeout = "http://127.0.0.1:1", 0, time.Second
	c.Networks = []Network{
		{NetID: "lab-1", CIDRs: []string{ten.String()}}, {MCC: "214", MNC: "07", CIDRs: []string{ten.String(), six.String()}},
	}
	d, err := New(c, driver.Env{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		stored, err := d.Check(raw, netip.Addr{}, 100)
		if err != nil {
			return
		}
		if again, err := d.Check(stored, netip.Addr{}, 100); err != nil || string(again) != string(stored) {
			t.Fatalf("%s is stored as %s, then as %s, %v", raw, stored, again, err)
		}
		target, err := parse(stored)
		if err != nil || !ten.Contains(target.IP) && !six.Contains(target.IP) || target.Port < 1024 {
			t.Fatalf("accepted %s, %v", stored, err)
		}
		if ip := target.IP.String(); ip == "10.0.0.0" || ip == "10.255.255.255" {
			t.Fatalf("accepted %s", stored)
		}
		if shown, err := d.Show(driver.Kick{Target: stored}); err != nil || strings.Count(shown, "\n") != 4 {
			t.Fatalf("Show(%s) = %q, %v", stored, shown, err)
		}
	})
}
