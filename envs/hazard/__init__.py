"""Coming hardware failures: calibrated disk hazard from SMART, health signals, a host's hazard per hour."""
