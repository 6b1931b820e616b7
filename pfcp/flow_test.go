package pfcp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var cmpAddrs = cmp.Options{
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestParseFlowDescription(t *testing.T) {
	prefix := netip.MustParsePrefix
	tests := []struct {
		text string
		want FlowDescription
	}{
		{"permit out ip from any to assigned", FlowDescription{To: FlowEndpoint{Assigned: true}}},
		{"permit out ip from 10.100.6.2/32 to assigned", FlowDescription{From: FlowEndpoint{Prefix: prefix("10.100.6.2/32")}, To: FlowEndpoint{Assigned: true}}},
		{"permit out 17 from 10.1.2.3/8 53,1000-2000 to 10.60.0.1 5000", FlowDescription{
			Protocol: 17,
			From:     FlowEndpoint{Prefix: prefix("10.0.0.0/8"), Ports: []PortRange{{53, 53}, {1000, 2000}}},
			To:       FlowEndpoint{Prefix: prefix("10.60.0.1/32"), Ports: []PortRange{{5000, 5000}}},
		}},
		{"permit out tcp from any 0-65535 to any", FlowDescription{Protocol: 6, From: FlowEndpoint{Ports: []PortRange{{0, 65535}}}}},
		{"permit in 6 from assigned to 10.0.0.1 443", FlowDescription{
			Protocol: 6, From: FlowEndpoint{Prefix: prefix("10.0.0.1/32"), Ports: []PortRange{{443, 443}}}, To: FlowEndpoint{Assigned: true},
		}},
		{"permit out 58 from ff02::2 to assigned", FlowDescription{Protocol: 58, From: FlowEndpoint{Prefix: prefix("ff02::2/128")}, To: FlowEndpoint{Assigned: true}}},
		{"  permit\tout ip  from 2001:db8::1/64 to any ", FlowDescription{From: FlowEndpoint{Prefix: prefix("2001:db8::/64")}}},
	}
	for _, tc := range tests {
		t.Run(tc.text, func(t *testing.T) {
			got, err := ParseFlowDescription(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpAddrs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseFlowDescriptionRefuses(t *testing.T) {
	tests := []struct{ text, says string }{
		{"", "action"},
		{"permit", "direction"},
		{"deny out ip from any to any", "action"},
		{"permit both ip from any to any", "direction"},
		{"permit out", "protocol"},
		{"permit out gre from any to any", "protocol"},
		{"permit out 256 from any to any", "protocol"},
		{"permit out -1 from any to any", "protocol"},
		{"permit out ip any to any", `"from" belongs`},
		{"permit out ip from any any", `"to" belongs`},
		{"permit out ip from any", `"to" belongs`},
		{"permit out ip from !10.0.0.1 to any", "no address"},
		{"permit out ip from 10.0.0 to any", "no address"},
		{"permit out ip from fe80::1%eth0 to any", "no address"},
		{"permit out ip from 10.0.0.1/33 to any", "no prefix"},
		{"permit out ip from any 80, to any", "no port"},
		{"permit out ip from any 9-8 to any", "no port"},
		{"permit out ip from any 70000 to any", "no port"},
		{"permit out ip from any " + strings.Repeat("1,", 64) + "1 to any", "more than 64"},
		{"permit out ip from 10.0.0.1 to ::1", "two families"},
		{"permit out ip from any to any frag", "options"},
	}
	for _, tc := range tests {
		t.Run(tc.text, func(t *testing.T) {
			fd, err := ParseFlowDescription(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %+v, %v, want an error about %q", fd, err, tc.says)
			}
		})
	}
}

// TestOrient: which side is the UE's, in both conventions.
func TestOrient(t *testing.T) {
	v4 := []netip.Prefix{netip.MustParsePrefix("10.60.0.1/32")}
	tests := []struct {
		text    string
		ue      []netip.Prefix
		swapped bool
	}{
		{"permit out ip from 10.100.6.2 to assigned", v4, false},
		{"permit out ip from assigned to 10.100.6.2", v4, true},
		{"permit out ip from 10.100.6.2 to 10.60.0.1", v4, false},
		{"permit out ip from 10.60.0.1 to 10.100.6.2", v4, true},
		{"permit out ip from 10.60.0.0/16 to 10.100.6.2", v4, true},
		{"permit out ip from any to 10.100.6.2", v4, true},
		{"permit out ip from any to 10.60.0.0/16", v4, false},
		{"permit out ip from 10.100.6.2 to any", v4, false},
		{"permit out 6 from any 80 to any", v4, false},
		{"permit out ip from any to 10.100.6.2", nil, false},
		{"permit out ip from 10.9.9.9 to 10.8.8.8", v4, false}, // matches nothing either way
	}
	for _, tc := range tests {
		t.Run(tc.text, func(t *testing.T) {
			fd, err := ParseFlowDescription(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			remote, local := fd.Orient(tc.ue)
			want := [2]FlowEndpoint{fd.From, fd.To}
			if tc.swapped {
				want = [2]FlowEndpoint{fd.To, fd.From}
			}
			if diff := cmp.Diff(want, [2]FlowEndpoint{remote, local}, cmpAddrs); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzFlowDescription(f *testing.F) {
	for _, s := range []string{
		"permit out ip from any to assigned", "permit in 17 from 10.0.0.0/8 1,2-3 to 2001:db8::/32",
		"permit out tcp from assigned 80 to any 1-65535", "deny out ip from any to any",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fd, err := ParseFlowDescription(s)
		if err != nil {
			return
		}
		again, err := ParseFlowDescription(fd.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", s, fd, err)
		}
		if diff := cmp.Diff(fd, again, cmpAddrs); diff != "" {
			t.Fatalf("%q became %q: %s", s, fd, diff)
		}
	})
}
