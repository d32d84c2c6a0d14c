package wakeup

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
)

// Access says who may call. Where it is empty nobody may, but everybody may
// ask for the node's status.
type Access struct {
	// CertNames are the common names or DNS names of client certificates;
	// none: any that the listener has verified.
	CertNames []string
	// Proxies are where TLS is terminated in front of the node: from there,
	// the header X-Client-Cert-Verified is believed.
	Proxies []netip.Prefix
	// Networks are where callers need no certificate.
	Networks []netip.Prefix
}

// admit returns whether a caller may call, and the name in its certificate
// where there is one.
func (a Access) admit(r *http.Request) (cert string, ok bool) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		leaf := r.TLS.VerifiedChains[0][0]
		return leaf.Subject.String(), len(a.CertNames) == 0 || slices.ContainsFunc(a.CertNames, func(name string) bool {
			return names(leaf, name)
		})
	}
	from := remote(r)
	if within(a.Proxies, from) {
		return r.Header.Get("X-Client-Cert-DN"), r.Header.Get("X-Client-Cert-Verified") == "SUCCESS"
	}
	return "", within(a.Networks, from)
}

func names(c *x509.Certificate, name string) bool {
	return c.Subject.CommonName == name || slices.Contains(c.DNSNames, name)
}

func within(nets []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// remote is the address that a request comes from, invalid when unknown.
func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}
