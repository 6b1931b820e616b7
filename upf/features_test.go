package upf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wmnsk/go-pfcp/ie"
	"github.com/wmnsk/go-pfcp/message"

	"github.com/braid-upf/braid/internal/testenv"
	"github.com/braid-upf/braid/pfcp"
)

// tshark is what tshark says of datagrams of PFCP: of each the fields' text. Nothing
// that it decodes may be in error.
func tshark(t *testing.T, datagrams [][]byte, args ...string) string {
	t.Helper()
	for _, program := range []string{"tshark", "text2pcap"} {
		if _, err := exec.LookPath(program); err != nil {
			testenv.Lacks(t, program+" is not installed")
		}
	}
	var dump strings.Builder
	for _, d := range datagrams {
		writeHexDump(&dump, d)
	}
	pcap := t.TempDir() + "/n4.pcap"
	convert := exec.Command("text2pcap", "-q", "-u", "8805,8805", "-", pcap)
	convert.Stdin = strings.NewReader(dump.String())
	if out, err := convert.CombinedOutput(); err != nil {
		t.Fatalf("text2pcap: %v: %s", err, out)
	}
	faults, err := exec.Command("tshark", "-r", pcap, "-Y", "_ws.malformed || _ws.expert.severity >= 6291456", "-V").Output()
	if err != nil || len(faults) > 0 {
		t.Fatalf("tshark: %v, finds fault with:\n%s", err, faults)
	}
	out, err := exec.Command("tshark", append([]string{"-r", pcap}, args...)...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	return string(out)
}

// TestFeatures: tshark reads out of the association setup response just the
// features of the list.
func TestFeatures(t *testing.T) {
	names := map[pfcp.UPFeature]string{
		pfcp.DDND: "DDND", pfcp.DLBD: "DLBD", pfcp.FTUP: "FTUP", pfcp.PFDM: "PFDM", pfcp.EMPU: "EMPU", pfcp.PDIU: "PDIU",
		pfcp.QUOAC: "QUOAC", pfcp.FRRT: "FRRT", pfcp.EPFAR: "EPFAR", pfcp.UEIP: "UEIP", pfcp.SSET: "SSET", pfcp.MNOP: "MNOP",
		pfcp.MPAS: "MPAS", pfcp.VTIME: "VTIME", pfcp.IP6PL: "IP6PL", pfcp.MPTCP: "MPTCP", pfcp.ATSSSLL: "ATSSS-LL",
	}
	set := func(text string) (on []string) {
		for line := range strings.Lines(text) {
			name, yes := strings.CutSuffix(strings.TrimSpace(line), ": Supported")
			if !yes {
				continue
			}
			if _, name, ok := strings.Cut(name, "= "); ok {
				on = append(on, strings.TrimSpace(strings.SplitN(name, " (", 2)[0]))
			}
		}
		slices.Sort(on)
		return on
	}
	b := newBench(t)
	req := message.NewAssociationSetupRequest(1, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted))
	d := make([]byte, req.MarshalLen())
	if err := req.MarshalTo(d); err != nil {
		t.Fatal(err)
	}
	datagrams := [][]byte{b.exchange(d)}
	var all []pfcp.UPFeature
	var want []string
	for _, f := range upFeatures {
		if f != pfcp.REDSM { // of Rel-18: TestRedundantModeFeature
			want = append(want, names[f])
		}
	}
	for f := range names { // each constant is where the standard has it
		m := message.NewAssociationSetupResponse(1, pfcp.FeaturesIE(f))
		d := make([]byte, m.MarshalLen())
		if err := m.MarshalTo(d); err != nil {
			t.Fatal(err)
		}
		datagrams, all = append(datagrams, d), append(all, f)
	}
	frames := strings.Split(tshark(t, datagrams, "-V"), "Packet Forwarding Control Protocol")[1:]
	if len(frames) != len(datagrams) {
		t.Fatalf("tshark reads %d messages of %d", len(frames), len(datagrams))
	}
	slices.Sort(want)
	if got := set(frames[0]); !slices.Equal(got, want) {
		t.Errorf("tshark reads %q, want %q", got, want)
	}
	for i, f := range all {
		if got := set(frames[i+1]); !slices.Equal(got, []string{names[f]}) {
			t.Errorf("%s: tshark reads %q", names[f], got)
		}
	}
}

// TestRedundantModeFeature: octet 12, bit 1 (TS 29.244 Rel-18, Table 8.2.25-1), which the
// tshark at hand need not know.
func TestRedundantModeFeature(t *testing.T) {
	b := newBench(t)
	i := first(iesOf(t, b.ask(message.NewAssociationSetupRequest(1, pfcp.NodeIDIE(cpNode), pfcp.RecoveryTimeStampIE(cpStarted)))), ie.UPFunctionFeatures)
	if i == nil {
		t.Fatal("no features")
	}
	if len(i.Payload) != 8 || i.Payload[12-5] != 1 {
		t.Errorf("features %x", i.Payload)
	}
}

// TestFeaturesAreTested: beside each feature that is told stands a test that there is.
func TestFeaturesAreTested(t *testing.T) {
	source, err := os.ReadFile("features.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, b...)
	}
	lines := regexp.MustCompile(`(?m)^\tpfcp\.(\w+), +// (.+)$`).FindAllSubmatch(source, -1)
	if len(lines) != len(upFeatures) {
		t.Errorf("%d features are told, %d have a comment", len(upFeatures), len(lines))
	}
	for _, l := range lines {
		for name := range bytes.SplitSeq(l[2], []byte(", ")) {
			if !bytes.Contains(tests, append([]byte("\nfunc "), append(name, "(t *testing.T)"...)...)) {
				t.Errorf("%s: there is no %s", l[1], name)
			}
		}
	}
}
