"""What real_data.py is made of."""
