package pfcp

// Key is the PDR ID, which names p in its session.
func (p *PDR) Key() uint16 { return p.ID }

// Key is the FAR ID, which names f in its session.
func (f *FAR) Key() uint32 { return f.ID }

// Key is the QER ID, which names q in its session.
func (q *QER) Key() uint32 { return q.ID }

// Key is the MAR ID, which names m in its session.
func (m *MAR) Key() uint16 { return m.ID }

// Key is the SRR ID, which names s in its session.
func (s *SRR) Key() uint8 { return s.ID }

// Key is the BAR ID, which names r in its session.
func (r *BAR) Key() uint8 { return r.ID }

// Key is the Traffic Endpoint ID, which names t in its session.
func (t *TrafficEndpoint) Key() uint8 { return t.ID }

// Key is the URR ID, which names u in its session.
func (u *URR) Key() uint32 { return u.ID }
