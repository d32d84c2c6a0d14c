package wakeup

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/edition-push/edition/kickdrivers/outbound"
)

// wakeGlobal finds the local node of a device and hands the request on.
func (n *Node) wakeGlobal(q *request) answer {
	form, refused := q.form()
	if form == nil {
		return refused
	}
	t, err := parseTarget(form)
	if err != nil {
		return bad(err.Error())
	}
	netid, mcc, mnc := form.Get("netid"), form.Get("mcc"), form.Get("mnc")
	if netid == "" && (mcc == "" || mnc == "") {
		return bad("neither netid nor mcc and mnc")
	}
	to := n.global.find(netid, mcc, mnc, t.ip)
	switch {
	case to == nil:
		return answer{status: http.StatusNotFound, text: "No such network"}
	case !within(to.Ranges, t.ip):
		return bad(fmt.Sprintf("%s lies outside the range of network %s", t.ip, to.NetID))
	case to.offline():
		return unavailable("Network "+to.NetID+" is offline", n.global.every)
	case t.proto == "" && len(to.Protocols) > 0:
		t.proto = to.Protocols[0]
	case t.proto != "" && len(to.Protocols) > 0 && !slices.Contains(to.Protocols, t.proto):
		return bad("network " + to.NetID + " does not take " + t.proto)
	}
	if to.Host == "" {
		return n.send(q, t)
	}
	return n.forward(q, to, t)
}

// forward hands a request to a local node, and does not wait for its answer.
func (n *Node) forward(q *request, to *network, t target) answer {
	select {
	case to.places <- struct{}{}:
	default:
		n.global.m.forward(to.NetID, "full")
		return unavailable("Network "+to.NetID+" is busy", time.Second)
	}
	header := q.onward(n.access)
	tracking := q.tracking
	if !n.fly(func() {
		defer func() { <-to.places }()
		status, err := n.global.wake(n.base, to, t, header)
		result := "accepted"
		switch {
		case err != nil:
			result = "failed"
		case status != http.StatusOK:
			result = "refused"
		}
		n.global.m.forward(to.NetID, result)
		n.log.Debug("handed to a local node", "netid", to.NetID, "tracking_id", tracking, "status", status, "err", err)
	}) {
		<-to.places
		return unavailable("Shutting down", 0)
	}
	return taken
}

// onward is what a local node is told about the caller. It takes requests only
// from those whose certificate was verified: that is this node's word.
func (q *request) onward(a Access) http.Header {
	from := remote(q.Request)
	real, via := from.String(), q.Header.Get("X-Forwarded-For")
	if within(a.Proxies, from) && q.Header.Get("X-Real-IP") != "" {
		real = q.Header.Get("X-Real-IP")
	}
	if via != "" {
		via += ", "
	}
	h := http.Header{}
	h.Set("X-Tracking-ID", q.tracking)
	h.Set("X-Real-IP", real)
	h.Set("X-Forwarded-For", via+from.String())
	h.Set("X-Client-Cert-Verified", "SUCCESS")
	h.Set("X-Client-Cert-DN", q.cert)
	return h
}

// wake calls a local node. By GET: not every one takes POST.
func (g *global) wake(ctx context.Context, to *network, t target, header http.Header) (status int, err error) {
	form := url.Values{"ip": {t.ip.String()}, "port": {strconv.Itoa(int(t.port))}}
	if t.proto != "" {
		form.Set("proto", t.proto)
	}
	if t.confirm != "" {
		form.Set("confirm", t.confirm)
	}
	return g.get(ctx, to.Host+pathLocal+"?"+form.Encode(), header)
}

func (g *global) get(ctx context.Context, at string, header http.Header) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, err
	}
	req.Header = header
	a, err := outbound.Do(g.client, req, maxAnswer)
	if err != nil {
		return 0, err
	}
	return a.Status, nil
}
