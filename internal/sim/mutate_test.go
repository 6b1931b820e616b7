package sim

import (
	"testing"

	"github.com/braid-upf/braid/packet"
)

// TestMutants breaks what the proxy emits in one way at a time; each way must be
// noticed. It is the proof that the invariants can fail.
func TestMutants(t *testing.T) {
	type change func(point int, s *segment, n int) bool // n counts the packets; false = dropped
	data := func(point int, s *segment) bool { return point == toUE && len(s.payload) > 0 && s.mp.dss != nil }
	mutants := []struct {
		name   string
		change change
	}{
		{"nothing", func(int, *segment, int) bool { return true }},
		{"MPTCP options to the UE left out", func(p int, s *segment, n int) bool {
			if p == toUE && !s.has(packet.SYN) {
				s.mp = mpOpts{}
			}
			return true
		}},
		{"early DATA_ACK is an empty ACK", func(p int, s *segment, n int) bool {
			if p == toUE && !s.has(packet.SYN) && n < 8 {
				s.mp.dss = nil
			}
			return true
		}},
		{"DSN one too high", func(p int, s *segment, n int) bool {
			if data(p, s) && n%16 == 0 {
				s.mp.dss.dsn++
			}
			return true
		}},
		{"SSN of the mapping one too high", func(p int, s *segment, n int) bool {
			if data(p, s) && n%16 == 0 {
				s.mp.dss.ssn++
			}
			return true
		}},
		{"mapping one byte too long", func(p int, s *segment, n int) bool {
			if data(p, s) && n%16 == 0 {
				s.mp.dss.n++
			}
			return true
		}},
		{"mapping one byte too short", func(p int, s *segment, n int) bool {
			if data(p, s) && n%16 == 0 {
				s.mp.dss.n--
			}
			return true
		}},
		{"payload byte to the UE flipped", func(p int, s *segment, n int) bool {
			if data(p, s) && n%16 == 0 {
				s.payload[0] ^= 1
			}
			return true
		}},
		{"payload byte to the server flipped", func(p int, s *segment, n int) bool {
			if p == toServer && len(s.payload) > 0 {
				s.payload[0] ^= 1
			}
			return true
		}},
		{"DATA_ACK too high", func(p int, s *segment, n int) bool {
			if p == toUE && s.mp.dss != nil {
				s.mp.dss.ack++
			}
			return true
		}},
		{"subflow ACK too high", func(p int, s *segment, n int) bool {
			if p == toUE && !s.has(packet.SYN) && !s.has(packet.RST) {
				s.ack++
			}
			return true
		}},
		{"subflow SN moved", func(p int, s *segment, n int) bool {
			if data(p, s) && n > 40 {
				s.sn += 7
				s.mp.dss.ssn += 7
			}
			return true
		}},
		{"ACK to the server too high", func(p int, s *segment, n int) bool {
			if p == toServer && !s.has(packet.SYN) {
				s.ack += 100
			}
			return true
		}},
		{"SN to the server moved", func(p int, s *segment, n int) bool {
			if p == toServer && len(s.payload) > 0 {
				s.sn++
			}
			return true
		}},
		{"window to the UE doubled", func(p int, s *segment, n int) bool {
			if p == toUE && !s.has(packet.SYN) {
				s.window = min(s.window, 32767) * 2
			}
			return true
		}},
		{"window to the server doubled", func(p int, s *segment, n int) bool {
			if p == toServer && !s.has(packet.SYN) {
				s.window = min(s.window, 32767) * 2
			}
			return true
		}},
		{"right edge to the UE moved back", func(p int, s *segment, n int) bool {
			if p == toUE && !s.has(packet.SYN) && n%32 == 0 {
				s.window -= s.window / 4
			}
			return true
		}},
		{"right edge to the server moved back", func(p int, s *segment, n int) bool {
			if p == toServer && !s.has(packet.SYN) && n%32 == 0 {
				s.window -= s.window / 4
			}
			return true
		}},
		{"DATA_ACK goes back", func(p int, s *segment, n int) bool {
			if p == toUE && s.mp.dss != nil && n > 100 && n%32 == 0 {
				s.mp.dss.ack -= 2000
			}
			return true
		}},
		{"ACK to the server goes back", func(p int, s *segment, n int) bool {
			if p == toServer && n > 100 && n%32 == 0 {
				s.ack -= 2000
			}
			return true
		}},
		{"old SSNs with another DSN", func(p int, s *segment, n int) bool {
			if data(p, s) && n > 60 && n%16 == 0 {
				s.sn -= 3000
				s.mp.dss.ssn -= 3000
			}
			return true
		}},
		{"TSval to the server goes back", func(p int, s *segment, n int) bool {
			if p == toServer && s.hasTS && n%8 == 0 && !s.has(packet.SYN) {
				s.tsVal -= 5000
			}
			return true
		}},
		{"TSecr to the UE from the future", func(p int, s *segment, n int) bool {
			if p == toUE && s.hasTS && !s.has(packet.SYN) {
				s.tsEcr += 1000
			}
			return true
		}},
		{"MPTCP option to the server", func(p int, s *segment, n int) bool {
			if p == toServer && n == 30 {
				s.mp.prio = new(bool)
			}
			return true
		}},
		{"join's HMAC wrong", func(p int, s *segment, n int) bool {
			if s.mp.join != nil {
				s.mp.join.hmac[3] ^= 1
			}
			return true
		}},
		{"SACK to the server from the ACK on", func(p int, s *segment, n int) bool {
			if p == toServer && len(s.sacks) > 0 {
				s.sacks[0][0] = s.ack
			}
			return true
		}},
		{"SACK to the server one byte too long", func(p int, s *segment, n int) bool {
			if p == toServer && len(s.sacks) > 0 {
				s.sacks[0][1]++
			}
			return true
		}},
		{"RST out of nowhere", func(p int, s *segment, n int) bool {
			if p == toServer && n == 40 {
				s.flags |= packet.RST
			}
			return true
		}},
		{"DATA_FIN one too early", func(p int, s *segment, n int) bool {
			if p == toUE && s.mp.dss != nil && s.mp.dss.fin && len(s.payload) == 0 {
				s.mp.dss.dsn--
			}
			return true
		}},
		{"DATA_FIN lost for good", func(p int, s *segment, n int) bool {
			return p != toUE || s.mp.dss == nil || !s.mp.dss.fin
		}},
		{"FIN lost for good", func(p int, s *segment, n int) bool {
			return p != toServer || !s.has(packet.FIN)
		}},
		{"one segment lost for good", func(p int, s *segment, n int) bool {
			return p != toServer || len(s.payload) == 0 || n < 20
		}},
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			noticed := ""
			for _, cfg := range mutantConfigs() {
				n := 0
				r := run(cfg, nil, func(point int, pkt []byte) []byte {
					s, err := decode(pkt)
					if err != nil {
						t.Fatal(err)
					}
					n++
					if !m.change(point, s, n) {
						return nil
					}
					return s.encode()
				})
				if r.Failure != "" {
					noticed = r.Failure
				}
				if m.name == "nothing" && r.Failure != "" {
					t.Fatalf("without a mutation: %s\n%s", r.Failure, r.Trace)
				}
			}
			if noticed == "" && m.name != "nothing" {
				t.Fatal("not noticed")
			}
			t.Log(noticed)
		})
	}
}

// mutantConfigs are a download and an upload with some loss, over both accesses.
func mutantConfigs() []Config {
	down, up := download(150_000), upload(150_000)
	for _, c := range []*Config{&down, &up} {
		c.Access[0].Down.Loss, c.Access[1].Down.Loss = 0.03, 0.03
		c.Access[0].Up.Loss, c.Access[1].Up.Loss = 0.01, 0.01
		c.N6Down.Loss, c.N6Up.Loss = 0.02, 0.02
		c.Conns[0].TCP.wscale, c.Conns[0].ServeTCP.wscale = 1, 1
		c.Conns[0].Client.buffer, c.Conns[0].Server.buffer = 40_000, 40_000
	}
	return []Config{down, up}
}
