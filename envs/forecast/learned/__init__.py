"""Forecasting models trained on many series at once and frozen: boosted quantiles and a quantile LSTM."""
